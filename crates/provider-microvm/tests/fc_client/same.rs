//! The fake against the real Firecracker: the same requests in the same order have the same answers, word for word, and the same end.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::bench::{Bench, real};

/// What is asked of one process; `DIR` is the folder of that run.
type Script = &'static [(&'static str, &'static str, &'static str)];

const MACHINE: (&str, &str, &str) = ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64}"#);
const BOOT: (&str, &str, &str) =
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/vmlinux", "boot_args": "console=ttyS0"}"#);
const DATA: (&str, &str, &str) = (
    "PUT",
    "/drives/data",
    r#"{"drive_id": "data", "path_on_host": "DIR/data.img", "is_read_only": false, "is_root_device": false}"#,
);
const START: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "InstanceStart"}"#);
const KEYS: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "SendCtrlAltDel"}"#);
const FLUSH: (&str, &str, &str) = ("PUT", "/actions", r#"{"action_type": "FlushMetrics"}"#);
const PAUSE: (&str, &str, &str) = ("PATCH", "/vm", r#"{"state": "Paused"}"#);
const RESUME: (&str, &str, &str) = ("PATCH", "/vm", r#"{"state": "Resumed"}"#);
const CREATE: (&str, &str, &str) =
    ("PUT", "/snapshot/create", r#"{"snapshot_path": "DIR/state", "mem_file_path": "DIR/memory"}"#);
const LOAD: (&str, &str, &str) = (
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"}}"#,
);

/// What has no form, and what is not known.
const FORMS: Script = &[
    ("GET", "/", ""),
    ("GET", "/version", "{}"),
    ("GET", "/nothing", ""),
    ("PUT", "/nothing", "{}"),
    ("PUT", "/actions", ""),
    ("PATCH", "/vm", ""),
    ("PUT", "/machine-config", "{"),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64, "more": 1}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 300, "mem_size_mib": 64}"#),
    ("PUT", "/boot-source", r#"{"kernel": "x"}"#),
    ("PUT", "/drives/data", r#"{"drive_id": "data", "is_root_device": false, "serial": "data"}"#),
    ("PUT", "/drives/a-b", r#"{"drive_id": "a-b", "is_root_device": false}"#),
    (
        "PUT",
        "/drives/other",
        r#"{"drive_id": "data", "is_root_device": false, "is_read_only": true, "path_on_host": "x"}"#,
    ),
    (
        "PUT",
        "/network-interfaces/eth0",
        r#"{"iface_id": "eth1", "host_dev_name": "ctt0", "guest_mac": "02:c7:0a:00:00:01"}"#,
    ),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth1"}"#),
    ("PUT", "/actions", r#"{"action_type": "Explode"}"#),
    ("PATCH", "/vm", r#"{"state": "Running"}"#),
    ("PUT", "/vsock", r#"{"guest_cid": -3, "uds_path": "x"}"#),
    ("PUT", "/entropy", r#"{"rate_limiter": {"bytes": 1}}"#),
    ("PUT", "/logger", r#"{"level": "Loud"}"#),
    ("PUT", "/serial", r#"{"path": "x"}"#),
];

/// What is refused before the start.
const BEFORE: Script = &[
    PAUSE,
    RESUME,
    KEYS,
    FLUSH,
    CREATE,
    START,
    ("GET", "/balloon/statistics", ""),
    ("PATCH", "/balloon", r#"{"amount_mib": 1}"#),
    ("PATCH", "/drives/data", r#"{"drive_id": "data", "path_on_host": "DIR/data.img"}"#),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth0"}"#),
    ("PUT", "/logger", r#"{"log_path": "DIR/no/such/folder"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/no/such/folder"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/metrics"}"#),
    ("PUT", "/metrics", r#"{"metrics_path": "DIR/metrics"}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 0, "mem_size_mib": 64}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 33, "mem_size_mib": 64}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 3, "mem_size_mib": 64, "smt": true}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 0}"#),
    ("PUT", "/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 63, "huge_pages": "2M"}"#),
    MACHINE,
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/nothing"}"#),
    ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/vmlinux", "initrd_path": "DIR/nothing"}"#),
    (
        "PUT",
        "/drives/data",
        r#"{"drive_id": "data", "path_on_host": "DIR/nothing", "is_read_only": true, "is_root_device": false}"#,
    ),
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/data.img"}"#),
    ("PUT", "/balloon", r#"{"amount_mib": 65, "deflate_on_oom": true}"#),
    LOAD,
];

/// What is refused after the start, and what is not.
const AFTER: Script = &[
    MACHINE,
    BOOT,
    DATA,
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/vsock.sock"}"#),
    ("PUT", "/balloon", r#"{"amount_mib": 0, "deflate_on_oom": true}"#),
    START,
    START,
    MACHINE,
    BOOT,
    DATA,
    ("PUT", "/entropy", "{}"),
    ("PUT", "/serial", r#"{"serial_out_path": "DIR/serial"}"#),
    ("PUT", "/logger", r#"{"log_path": "DIR/log"}"#),
    ("PUT", "/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/other.sock"}"#),
    LOAD,
    CREATE,
    FLUSH,
    ("PATCH", "/drives/data", r#"{"drive_id": "data", "path_on_host": "DIR/nothing"}"#),
    ("PATCH", "/drives/other", r#"{"drive_id": "other", "path_on_host": "DIR/data.img"}"#),
    (
        "PATCH",
        "/drives/data",
        r#"{"drive_id": "data", "rate_limiter": {"ops": {"size": 1, "refill_time": 1}}}"#,
    ),
    ("PATCH", "/network-interfaces/eth0", r#"{"iface_id": "eth0"}"#),
    ("PATCH", "/balloon", r#"{"amount_mib": 1}"#),
    ("PATCH", "/balloon/statistics", r#"{"stats_polling_interval_s": 1}"#),
    ("GET", "/balloon/statistics", ""),
    RESUME,
    PAUSE,
    PAUSE,
    ("GET", "/", ""),
    CREATE,
    ("PUT", "/snapshot/create", r#"{"snapshot_path": "DIR/no/such", "mem_file_path": "DIR/memory"}"#),
    RESUME,
    KEYS,
];

/// What cannot be started.
const NO_KERNEL: Script =
    &[MACHINE, ("PUT", "/boot-source", r#"{"kernel_image_path": "DIR/initramfs"}"#), START, ("GET", "/", "")];

const NO_STATE: Script = &[LOAD];
const NO_SUCH_NIC: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"},
        "network_overrides": [{"iface_id": "eth0", "host_dev_name": "ctt0"}]}"#,
)];
const NO_MEMORY: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/nothing"}}"#,
)];
const SHORT_MEMORY: Script = &[(
    "PUT",
    "/snapshot/load",
    r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/data.img"}}"#,
)];
const VSOCK_IN_USE: Script = &[LOAD];
const RESTORED: Script = &[
    (
        "PUT",
        "/snapshot/load",
        r#"{"snapshot_path": "DIR/state", "mem_backend": {"backend_type": "File", "backend_path": "DIR/memory"},
            "vsock_override": {"uds_path": "DIR/restored.sock"}, "clock_realtime": true}"#,
    ),
    ("GET", "/", ""),
    START,
    LOAD,
    RESUME,
    KEYS,
];

/// Whether the process is to end by itself after a script.
const SCRIPTS: [(&str, Script, bool); 10] = [
    ("forms", FORMS, false),
    ("before", BEFORE, false),
    ("no kernel", NO_KERNEL, false),
    ("no state", NO_STATE, true),
    ("after", AFTER, true),
    ("no such nic", NO_SUCH_NIC, true),
    ("no memory", NO_MEMORY, true),
    ("short memory", SHORT_MEMORY, true),
    ("vsock in use", VSOCK_IN_USE, true),
    ("restored", RESTORED, true),
];

/// Where the words of a fault are those of Firecracker's libraries: so far they are compared.
const IN_PART: [&str; 3] = [
    "Start microvm error: System configuration error: Cannot load kernel due to invalid memory configuration or invalid kernel image",
    "Load snapshot error: Failed to restore from snapshot: Failed to build microVM from snapshot",
    "An error occurred when deserializing the json body of a request",
];

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn the_fake_answers_as_the_real_one() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    let version = tokio::process::Command::new(&program).arg("--version").output().await?;
    println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default());
    let (real, fake) = (run(Some(&program)).await?, run(None).await?);
    for (real, fake) in real.iter().zip(&fake) {
        ensure!(real == fake, "the real one: {real}\nthe fake:     {fake}");
    }
    ensure!(real.len() == fake.len());
    println!("{} answers are the same", real.len());
    Ok(())
}

#[tokio::test]
async fn the_fake_can_be_asked_all_that_the_real_one_is() -> Result<()> {
    let answers = run(None).await?;
    let asked: usize = SCRIPTS.iter().map(|(_, script, _)| script.len()).sum();
    ensure!(answers.len() == asked + SCRIPTS.len());
    Ok(())
}

/// All scripts, each with a process of its own: what was asked and how it was answered, and how the process ended.
async fn run(program: Option<&Path>) -> Result<Vec<String>> {
    let bench = Bench::new()?;
    let folder = bench.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let mut said = Vec::new();
    for (number, (name, script, ends)) in SCRIPTS.into_iter().enumerate() {
        let mut monitor = bench.monitor(program, &format!("api-{number}.sock"))?;
        let api = provider_microvm::vmm::firecracker::Api::new(name, monitor.socket(), Default::default());
        api.opened().await?;
        for (method, path, body) in script {
            let body = body.replace("DIR", folder);
            let answer = ask(monitor.socket(), method, path, &body).await;
            let answer = answer.with_context(|| format!("{name}: {method} {path} {body}"))?;
            let answer = answer.replace(folder, "DIR");
            said.push(format!(
                "{name}: {method} {path} {}: {}",
                body.replace(folder, "DIR"),
                shortened(&answer)
            ));
        }
        let code = if ends { monitor.exited().await? } else { None };
        said.push(format!("{name}: ended with {code:?}"));
    }
    Ok(said)
}

fn shortened(answer: &str) -> &str {
    let part = IN_PART.iter().find_map(|part| answer.find(part).map(|at| &answer[..at + part.len()]));
    part.unwrap_or(answer)
}

/// One request, as plain as can be: the status, and the words of the fault or the state.
async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    let whole = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            ensure!(count > 0, "no answer: {text:?}");
            continue;
        };
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length:")
            .map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default().trim().parse::<usize>());
        if count == 0 || body.len() >= length.transpose()?.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let status = whole.0.split(' ').nth(1).context("no status")?.to_owned();
    let body = whole.1;
    if body.is_empty() {
        return Ok(status);
    }
    let body: serde_json::Value = serde_json::from_str(&body).with_context(|| body.clone())?;
    let told = body["fault_message"].as_str().or_else(|| body["state"].as_str());
    Ok(format!("{status} {}", told.map_or_else(|| body.to_string(), str::to_owned)))
}
