//! From the first root: the host tells over the link what this guest is for.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guest_protocol::link::accept;
use guest_protocol::{BootWords, PORT};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;

use super::port::Port;
use super::vsock::Listener;
use super::{modules, stop_on_signals};
use crate::console::say;
use crate::guest::Guest;
use crate::seat::{MicroVm, wait_for};
use crate::serve;

/// How long the port may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until the machine is to end.
pub(super) async fn run() -> Result<(), String> {
    modules::load(Path::new("/modules"));
    let line = fs::read_to_string("/proc/cmdline");
    let line = line.map_err(|why| format!("the kernel's command line cannot be read: {why}"))?;
    let BootWords { disks, vsock_port } = BootWords::parse(&line).map_err(|why| why.to_string())?;
    let guest = Guest::new(Box::new(MicroVm::new(disks)));
    guest.reaper.run().map_err(|why| format!("children cannot be waited for: {why}"))?;
    stop_on_signals(&guest)?;
    let answered = match vsock_port {
        None => on_port(&guest).await,
        Some(port) => on_vsock(&guest, port).await,
    };
    answered?;
    let machine = guest.clone();
    drop(spawn_blocking(move || machine.power_off()).await);
    Ok(())
}

/// Answers one host after another on the virtio-serial port, until the machine is to end.
async fn on_port(guest: &Arc<Guest>) -> Result<(), String> {
    let found = spawn_blocking(|| wait_for(PATIENCE, || Port::find(PORT))).await;
    let path = match found {
        Ok(Ok(Some(path))) => path,
        Ok(Ok(None)) => {
            return Err(format!("no virtio-serial port is named {PORT}: the machine was started without it"));
        }
        Ok(Err(why)) => return Err(format!("the port {PORT} cannot be looked for: {why}")),
        Err(panicked) => return Err(format!("the port {PORT} cannot be looked for: {panicked}")),
    };
    let port = Port::open(&path).map_err(|why| format!("{} cannot be opened: {why}", path.display()))?;
    say(format_args!("waits for the host on {}", path.display()));
    while !guest.is_over() {
        tokio::select! {
            connected = port.connected() => connected.map_err(|why| unwaited(&why))?,
            () = guest.over() => break,
        }
        host(guest, port.clone()).await;
    }
    Ok(())
}

/// The same on a port of the vsock device. Who connects while a host is there waits for its turn.
async fn on_vsock(guest: &Arc<Guest>, port: u32) -> Result<(), String> {
    let listener = Listener::bind(port).map_err(|why| {
        format!("port {port} of vsock cannot be served: {why}; the kernel needs CONFIG_VIRTIO_VSOCKETS")
    })?;
    say(format_args!("waits for the host on port {port} of vsock"));
    while !guest.is_over() {
        tokio::select! {
            accepted = listener.accept() => host(guest, accepted.map_err(|why| unwaited(&why))?).await,
            () = guest.over() => break,
        }
    }
    Ok(())
}

fn unwaited(why: &io::Error) -> String {
    format!("the link cannot be waited for: {why}")
}

/// Answers a host until it goes away.
async fn host(guest: &Arc<Guest>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    tokio::select! {
        // One that ends in between, or that speaks of something else, was no host.
        accepted = accept(stream) => if let Ok(stream) = accepted {
            say("the host is there");
            let why = serve::connection(guest, stream).await;
            say(format_args!("the link to the host has ended: {why}"));
        },
        () = guest.over() => {}
    }
}
