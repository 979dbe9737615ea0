//! A real guest on an operator's network, made by Debian's CNI plugins.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provider_microvm::{CniConfig, MicrovmProvider};
use seats::{
    DataPolicy, EnvVars, Instance, Limits, Provider, Scope, SeatBound, SeatRef, SeatSpec, Status, Timeline,
};

use crate::host::{Host, START_TIMEOUT};
use crate::sight::run;

const PLUGINS: &str = "/usr/lib/cni";
const TEST: &str = "cni::a_guest_answers_over_an_operators_network";

/// Whether there are plugins; else the runner of the tiers counts the test as skipped.
fn can_run() -> bool {
    let missing =
        ["bridge", "host-local", "tuning"].into_iter().find(|name| !Path::new(PLUGINS).join(name).exists());
    let Some(missing) = missing else { return true };
    let why = format!("no {PLUGINS}/{missing} (scripts/ensure-test-tools.sh installs it)");
    let Some(report) = std::env::var_os("CONFORMANCE_REPORT") else { panic!("cannot run here: {why}") };
    let mut file = fs::OpenOptions::new().create(true).append(true).open(report).unwrap();
    writeln!(file, "skipped\tvm\t{TEST}\t{why}").unwrap();
    false
}

#[test]
#[ignore = "vm tier: needs root, QEMU, CNI plugins and a guest kernel; cargo xtask test runs it"]
fn a_guest_answers_over_an_operators_network() {
    if !can_run() {
        return;
    }
    vm_testbed::isolated(TEST, || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(body());
    });
}

/// A host with an operator's network; what the plugins keep is in the mounts of the test.
fn host() -> Host {
    run("mount", &["-t", "tmpfs", "none", "/mnt"]).unwrap();
    let mut host = Host::new().unwrap();
    fs::create_dir("/mnt/net.d").unwrap();
    let list = serde_json::json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [
        {"type": "bridge", "bridge": "lab0", "isGateway": true, "capabilities": {"ips": true}, "ipam": {
            "type": "host-local", "dataDir": "/mnt/ipam", "ranges": [[{"subnet": "10.78.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "tuning"}
    ]});
    fs::write("/mnt/net.d/lab.conflist", list.to_string()).unwrap();
    host.config.cni = Some(CniConfig {
        network: "lab".parse().unwrap(),
        config_dir: "/mnt/net.d".into(),
        bin_dirs: vec![PLUGINS.into()],
        timeout: Duration::from_secs(120),
        namespaces: Some("/mnt/namespaces".into()),
    });
    host
}

async fn service(host: &Host) -> Arc<MicrovmProvider> {
    let provider = host.provider();
    provider.start().await.unwrap();
    provider
}

async fn up(provider: &MicrovmProvider, spec: &SeatSpec) -> Instance {
    let created = provider.create(spec, &Timeline::default()).await.unwrap();
    let instance = provider.settle(&created.instance, START_TIMEOUT).await.unwrap();
    assert_eq!(instance.status, Status::Running, "{:?}", instance.reason);
    instance
}

/// The workspace's answer, as the host gets it.
fn health(ip: IpAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, 3001), START_TIMEOUT).unwrap();
    stream.set_read_timeout(Some(START_TIMEOUT)).unwrap();
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// What the network has of seats.
fn left() -> Vec<String> {
    let folders = ["/mnt/namespaces", "/mnt/ipam/lab"];
    let names = folders.into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    let mut left: Vec<_> =
        names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip")).collect();
    let links = run("ip", &["-o", "link"]).unwrap();
    let links = links.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned);
    left.extend(links.filter(|name| !["lo", "lab0"].contains(&name.as_str())));
    left
}

async fn body() {
    let host = host();
    let seat = SeatRef::new("over-cni".parse().unwrap(), SeatBound::widest().seat(1).unwrap());
    let spec = SeatSpec {
        seat: seat.clone(),
        image: format!("{}:latest", vm_testbed::IMAGE).parse().unwrap(),
        env: EnvVars::default(),
        limits: Limits { cpu_millis: 1000, memory_mib: 128, pids: 64 },
        api_key: None,
    };
    let first = service(&host).await;
    let made = up(&first, &spec).await;
    let ip = made.ip.unwrap();
    assert!(ip.to_string().starts_with("10.78.0."), "{ip}");
    assert!(health(ip).contains("testbed"), "{}", health(ip));
    // The monitor has no interface of the host's: it is in the seat's namespace.
    let pid = host.monitor_pid(&seat).unwrap();
    let namespace = fs::metadata("/mnt/namespaces/over-cni.1").unwrap();
    let its = fs::metadata(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&its), std::os::unix::fs::MetadataExt::ino(&namespace));
    // The next service finds it where it was.
    drop(first);
    let next = service(&host).await;
    let found = next.list(&Scope::All).await.unwrap();
    assert_eq!((found.len(), found[0].ip), (1, Some(ip)));
    assert!(health(ip).contains("testbed"));
    // Switched off and on again it has its address still.
    let agent = next.agent(&seat, START_TIMEOUT).await.unwrap();
    agent.stop(Duration::from_secs(10)).await.unwrap();
    let folder = provider_microvm::vmm::RunFolder::new(host.seat_folder(&seat).join("run"));
    while folder.exit().ok().flatten().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(up(&next, &spec).await.ip, Some(ip));
    assert!(health(ip).contains("testbed"));
    // A service with bridges does not take what it could not remove.
    drop(next);
    let mut bridges = host.config.clone();
    bridges.cni = None;
    let why = MicrovmProvider::new(bridges, None).unwrap().start().await.unwrap_err().to_string();
    assert!(
        why.contains("workshop over-cni has a CNI network: set microvm.network = \"cni\" again"),
        "{why}"
    );
    let last = service(&host).await;
    last.destroy(&seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(left(), Vec::<String>::new());
    assert_eq!(host.inventory(&seat.workshop).unwrap(), conformance::Inventory::default());
    assert_eq!(fs::read_dir(host.config.state_dir.join("microvm/cni")).unwrap().count(), 0);
    // What the operator has not is said before anything is made.
    fs::remove_file("/mnt/net.d/lab.conflist").unwrap();
    drop(last);
    let why = host.provider().start().await.unwrap_err().to_string();
    assert!(why.contains("there is no CNI network lab in /mnt/net.d"), "{why}");
}
