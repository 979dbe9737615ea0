//! Every request that the client can send, with any settings, fits the description of Firecracker's API; what does not fit it is not sent.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use provider_microvm::vmm::firecracker::{Api, Attached, FirecrackerError, Limits, Machine, Trouble};

use crate::description::Description;
use crate::server::{Reply, Request, Server};
use crate::settings::{Plan, plan};

/// All that the client does, by the names of the description.
const OPERATIONS: [&str; 21] = [
    "createSnapshot",
    "createSyncAction",
    "describeBalloonStats",
    "describeInstance",
    "getFirecrackerVersion",
    "loadSnapshot",
    "patchBalloon",
    "patchBalloonStatsInterval",
    "patchGuestDriveByID",
    "patchGuestNetworkInterfaceByID",
    "patchVm",
    "putBalloon",
    "putEntropyDevice",
    "putGuestBootSource",
    "putGuestDriveByID",
    "putGuestNetworkInterfaceByID",
    "putGuestVsock",
    "putLogger",
    "putMachineConfiguration",
    "putMetrics",
    "putSerialDevice",
];

#[test]
fn every_request_fits_the_description() -> Result<()> {
    let Some(description) = Description::find()? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (operations, words) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let config = Config { cases: 128, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&plan(), |plan| {
        let folder = tempfile::tempdir().map_err(|why| TestCaseError::fail(why.to_string()))?;
        let said = runtime.block_on(say(&plan, &folder.path().join("api.sock")));
        for request in said.map_err(|why| TestCaseError::fail(format!("{why:#}")))? {
            let operation = description.operation(&request);
            let operation = operation.map_err(|why| TestCaseError::fail(format!("{why:#}")))?;
            operations.lock().unwrap().insert(operation.to_owned());
            collect(&serde_json::from_slice(&request.body).unwrap_or_default(), &mut words.lock().unwrap());
        }
        Ok(())
    })?;
    // None of them was missed because the settings before it were refused.
    let expected: BTreeSet<_> = OPERATIONS.map(str::to_owned).into();
    assert_eq!(*operations.lock().unwrap(), expected);
    let words = words.lock().unwrap();
    for word in ["initrd_path", "one_time_burst", "ops", "mtu", "rx_rate_limiter", "vsock_override", "module"]
    {
        assert!(words.contains(word), "{word} was never said: {words:?}");
    }
    Ok(())
}

/// The names in a value.
fn collect(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                names.insert(name.clone());
                collect(value, names);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

/// Says all of a plan to a server that agrees to everything, and gives what it heard.
async fn say(plan: &Plan, socket: &Path) -> Result<Vec<Request>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (ears, state) = (Arc::clone(&heard), Arc::new(Mutex::new("Not started")));
    let shown = Arc::clone(&state);
    let _server = Server::start(socket, move |request| {
        ears.lock().unwrap().push(request.clone());
        agree(request, *shown.lock().unwrap())
    })?;
    let api = || Api::new("demo/1", socket, Limits::default());
    let mut sent = Sent::default();
    configure(plan, Machine::fresh(api()).await?, &mut sent).await?;
    let fresh = Machine::fresh(api()).await?;
    sent.count(fresh.load(&plan.load).await)?;
    let fresh = Machine::fresh(api()).await?;
    sent.count(fresh.load_and_resume(&plan.load).await)?;
    *state.lock().unwrap() = "Running";
    anyhow::ensure!(matches!(Attached::attach(api()).await?, Attached::Running(_)));
    let heard = heard.lock().unwrap().clone();
    let set = heard.iter().filter(|request| request.method != "GET").count();
    anyhow::ensure!(set == sent.0, "{} requests were sent, and {set} were heard", sent.0);
    Ok(heard)
}

/// How many requests were sent that set something.
#[derive(Default)]
struct Sent(usize);

impl Sent {
    /// Nothing when the client refused to send it.
    fn count<T>(&mut self, result: Result<T, FirecrackerError>) -> Result<Option<T>> {
        match result {
            Ok(done) => {
                self.0 += 1;
                Ok(Some(done))
            }
            Err(FirecrackerError { trouble: Trouble::Setting(_), .. }) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }
}

async fn configure(
    plan: &Plan,
    fresh: Machine<provider_microvm::vmm::firecracker::Unconfigured>,
    sent: &mut Sent,
) -> Result<()> {
    let (logger, metrics, serial) = &plan.process;
    sent.count(fresh.set_logger(logger).await)?;
    sent.count(fresh.set_metrics(metrics).await)?;
    sent.count(fresh.set_serial(serial).await)?;
    let configured = match fresh.configure(&plan.machine, &plan.boot).await {
        Ok(configured) => configured,
        Err(FirecrackerError { trouble: Trouble::Setting(_), call, .. }) => {
            // The machine was fine when the boot source is not.
            sent.0 += usize::from(call == "PUT /boot-source");
            return Ok(());
        }
        Err(why) => return Err(why.into()),
    };
    sent.0 += 2;
    for drive in &plan.drives {
        sent.count(configured.add_drive(drive).await)?;
    }
    for nic in &plan.nics {
        sent.count(configured.add_network_interface(nic).await)?;
    }
    sent.count(configured.set_vsock(&plan.vsock).await)?;
    sent.count(configured.set_entropy(&plan.entropy).await)?;
    sent.count(configured.set_balloon(&plan.balloon).await)?;
    let running = configured.start().await?;
    for patch in &plan.drive_patches {
        sent.count(running.patch_drive(patch).await)?;
    }
    for patch in &plan.nic_patches {
        sent.count(running.patch_network_interface(patch).await)?;
    }
    let (amount, interval) = plan.amount_and_interval;
    running.set_balloon_amount(amount).await?;
    running.set_balloon_interval(interval).await?;
    anyhow::ensure!(running.balloon_stats().await?.actual_mib == 7);
    running.flush_metrics().await?;
    running.send_ctrl_alt_del().await?;
    let paused = running.pause().await?;
    sent.count(paused.create_snapshot(&plan.files).await)?;
    paused.resume().await?;
    // Start, amount, interval, metrics, keys, pause and resume.
    sent.0 += 7;
    Ok(())
}

fn agree(request: &Request, state: &str) -> Reply {
    let body = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/version") => r#"{"firecracker_version": "1.16.1"}"#.to_owned(),
        ("GET", "/") => {
            format!(
                r#"{{"id": "x", "state": "{state}", "vmm_version": "1.16.1", "app_name": "Firecracker"}}"#
            )
        }
        ("GET", "/balloon/statistics") => {
            r#"{"target_pages": 0, "actual_pages": 1792, "target_mib": 0, "actual_mib": 7, "more": 1}"#
                .to_owned()
        }
        _ => String::new(),
    };
    Reply::Answer { status: if body.is_empty() { 204 } else { 200 }, body }
}
