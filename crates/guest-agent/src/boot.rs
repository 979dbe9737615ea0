//! The first things, and the last.

mod link;
mod modules;
mod port;
mod process;
mod standalone;
mod timer;
mod vsock;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::console::{self, say};
use crate::guest::Guest;
use crate::{power, seat};

/// What the image's own disk has when the agent is its `init=`.
const IMAGE: &str = "/.clarateach/image.json";
/// How long the workload has when the machine is asked to end by a key.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the agent: as the first process of a machine it does not come back.
#[must_use]
pub fn main() -> ExitCode {
    if rustix::process::getpid().as_raw_pid() != 1 {
        return process::main();
    }
    std::panic::set_hook(Box::new(|panic| say(format_args!("this is a defect of the agent: {panic}"))));
    // A root that cannot be written to may not even have the folders to mount things at.
    let memory = if Path::new(IMAGE).exists() { standalone::make_writable().err() } else { None };
    let trouble = memory.into_iter().chain(seat::early());
    let trouble: Vec<_> = trouble.collect();
    console::open();
    for why in trouble {
        say(why);
    }
    // Control-Alt-Delete asks us instead of ending the machine (reboot(2)).
    let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    let done = std::panic::catch_unwind(|| {
        // Before anybody is told that the machine is up, or saves it.
        timer::check()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| format!("no runtime: {why}"))?;
        runtime.block_on(async {
            if Path::new(IMAGE).exists() {
                standalone::run(Path::new(IMAGE)).await
            } else {
                link::run().await
            }
        })
    });
    match done {
        Ok(Ok(())) => {}
        Ok(Err(why)) => say(format_args!("{why}; the machine ends")),
        // The hook has said why.
        Err(_) => say("the machine ends"),
    }
    power::reset();
    // Only where the kernel refused.
    ExitCode::FAILURE
}

/// Ends the seat when the machine is asked to by a key or a signal.
fn stop_on_signals(guest: &std::sync::Arc<Guest>) -> Result<(), String> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind).map_err(|why| format!("signals cannot be waited for: {why}"))?;
        let guest = guest.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                guest.stop(GRACE);
            }
        });
    }
    Ok(())
}

/// Writes a line to whoever started us outside of a machine.
fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
