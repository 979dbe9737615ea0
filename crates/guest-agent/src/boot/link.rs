//! From the first root: the host tells over the link what this guest is for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use guest_protocol::PORT;
use guest_protocol::link::accept;
use tokio::task::spawn_blocking;

use super::port::Port;
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
    let guest = Guest::new(Box::<MicroVm>::default());
    guest.reaper.run().map_err(|why| format!("children cannot be waited for: {why}"))?;
    stop_on_signals(&guest)?;
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
    answer(&guest, &port).await.map_err(|why| format!("the link cannot be waited for: {why}"))?;
    let machine = guest.clone();
    drop(spawn_blocking(move || machine.power_off()).await);
    Ok(())
}

/// Answers one host after another, until the machine is to end.
async fn answer(guest: &Arc<Guest>, port: &Port) -> std::io::Result<()> {
    while !guest.is_over() {
        tokio::select! {
            connected = port.connected() => connected?,
            () = guest.over() => break,
        }
        tokio::select! {
            // One that ends in between, or that speaks of something else, was no host.
            accepted = accept(port.clone()) => if let Ok(stream) = accepted {
                say("the host is there");
                let why = serve::connection(guest, stream).await;
                say(format_args!("the link to the host has ended: {why}"));
            },
            () = guest.over() => break,
        }
    }
    Ok(())
}
