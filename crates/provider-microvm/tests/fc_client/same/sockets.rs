//! Sockets that are there already, and one that nobody answers on.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ask;
use crate::bench::{Bench, Monitor, real};
use crate::fake::{Fake, Options};

/// The code with which the real one ends that finds something at the place of its socket, which stays.
async fn refused(program: &Path, leave: fn(&Path) -> Result<()>) -> Result<Option<i32>> {
    let bench = Bench::new()?;
    leave(&bench.path("api.sock"))?;
    let code = bench.monitor(Some(program), "api.sock")?.exited().await?;
    ensure!(bench.path("api.sock").exists(), "it was removed");
    Ok(code)
}

fn stale(at: &Path) -> Result<()> {
    drop(UnixListener::bind(at)?);
    Ok(())
}

fn file(at: &Path) -> Result<()> {
    Ok(std::fs::write(at, "")?)
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn an_api_socket_that_is_there_ends_both() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    for leave in [stale, file] {
        ensure!(refused(&program, leave).await? == Some(1));
        let bench = Bench::new()?;
        leave(&bench.path("api.sock"))?;
        let why = Fake::start(&bench.path("api.sock"), Options::default()).map(drop).unwrap_err();
        ensure!(why.kind() == std::io::ErrorKind::AddrInUse, "{why}");
    }
    Ok(())
}

/// What is said to who connects to a port of a guest that has no driver for it; nothing when nothing is.
async fn greeting(bench: &Bench, monitor: &Monitor) -> Result<Option<String>> {
    let folder = bench.path("").display().to_string();
    for (path, body) in [
        ("/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64}"#),
        ("/boot-source", r#"{"kernel_image_path": "DIR/vmlinux"}"#),
        ("/vsock", r#"{"guest_cid": 3, "uds_path": "DIR/vsock.sock"}"#),
        ("/actions", r#"{"action_type": "InstanceStart"}"#),
    ] {
        let said = ask(monitor.socket(), "PUT", path, &body.replace("DIR/", &folder)).await?;
        ensure!(said == "204", "{path}: {said}");
    }
    let mut stream = UnixStream::connect(bench.path("vsock.sock")).await?;
    stream.write_all(b"CONNECT 1024\n").await?;
    let mut said = String::new();
    let ended = timeout(Duration::from_millis(300), stream.read_to_string(&mut said)).await;
    Ok(ended.is_ok().then_some(said))
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn who_connects_to_a_guest_without_drivers_hears_nothing_of_both() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    for program in [Some(program.as_path()), None] {
        let bench = Bench::new()?;
        let monitor = bench.monitor(program, "api.sock")?;
        provider_microvm::vmm::firecracker::Api::new("demo/1", monitor.socket(), Default::default())
            .opened()
            .await?;
        let said = greeting(&bench, &monitor).await?;
        ensure!(said.is_none(), "{program:?}: {said:?}");
    }
    Ok(())
}
