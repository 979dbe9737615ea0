//! Seats of Firecracker on a machine whose KVM does not run guests: in a guest that is itself a host.
//!
//! ```text
//!   this program ──► QEMU translates, and emulates SVM
//!                      an outer guest: this program again, the same binary, beside the service
//!                        Firecracker's guests, by the outer guest's KVM
//!   this program ◄── a line of JSON
//! ```
//!
//! All of it is many times slower than on a processor, so figures of it are compared with each other alone: with bare commands in the same outer guest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use vm_testbed::{BootError, Outer, OuterRun};

use super::guests::{self, Amount, Guests};
use super::host::Host;
use super::monitor::{Monitor, Programs};
use crate::console;
use crate::stop::Stop;

/// The memory of an outer guest in MiB. Its root is in it, with disks, jails and snapshots of a class.
const MEMORY_MIB: u32 = 8192;
/// Far more than it takes: only what hangs gets there.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// How the line begins that has the result.
const RESULT: &str = "measured: ";

/// Where guests ran.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    /// On this host's KVM.
    Direct,
    /// In an outer guest of so many MiB.
    Nested { outer_memory_mib: u32 },
}

/// What is measured in the outer guest.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    amount: Amount,
    /// The service's binary.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
}

/// Measures in an outer guest, which is ended in any case; nothing where there can be none.
pub(super) async fn measure(amount: Amount, binary: &Path) -> Result<Option<(Place, Guests)>> {
    let outer = match Outer::find() {
        Ok(outer) => outer.processors(2).memory(MEMORY_MIB),
        Err(BootError::Missing(why)) => {
            console::dim(&format!("guests of Firecracker are not measured: {why}"));
            return Ok(None);
        }
        Err(why) => return Err(why.into()),
    };
    let mut again = Command::new("unshare");
    again.args(["--net", "--mount", "--"]).arg(std::env::current_exe()?);
    again.args(["bench", "microvm-guests", "--binary"]).arg(binary).args(amount.arguments());
    again.env("CLARATEACH_AGENT", vm_testbed::agent()?);
    // Where a kernel is looked for.
    again.envs(std::env::var_os("HOME").map(|home| ("HOME", home)));
    let tell = |line: &str| {
        if !line.starts_with(RESULT) {
            console::line(&format!("| {line}"));
        }
    };
    // When this is given up, the outer guest is ended as every other process of the namespace is, and the thread with it.
    let run = tokio::task::spawn_blocking(move || outer.run(&again, LIMIT, tell)).await?;
    let measured = result(&run.context("the outer guest")?)?;
    Ok(Some((Place::Nested { outer_memory_mib: MEMORY_MIB }, measured)))
}

fn result(run: &OuterRun) -> Result<Guests> {
    let OuterRun { code, said, console, .. } = run;
    ensure!(*code == 0, "the bench in the outer guest ended with {code} (see above)\n{}", console.tail());
    let line = said.lines().find_map(|line| line.strip_prefix(RESULT));
    let line =
        line.with_context(|| format!("the bench in the outer guest has no result\n{}", console.tail()))?;
    Ok(serde_json::from_str(line)?)
}

/// Is the bench in the outer guest: measures, and says what came out in one line.
pub(crate) async fn inside(stop: &Stop, options: &Options) -> Result<()> {
    let monitor = Monitor::Firecracker(Programs::find()?);
    let host = Host::new(&options.binary).await.context("the host could not be prepared")?;
    let measured = stop.or(measured(&host, &monitor, options.amount)).await;
    let swept = host.sweep();
    let measured = measured?;
    swept?;
    console::line(&format!("{RESULT}{}", serde_json::to_string(&measured)?));
    Ok(())
}

async fn measured(host: &Host, monitor: &Monitor, amount: Amount) -> Result<Guests> {
    host.prepare(monitor).await?;
    guests::measure(host, monitor, amount, &super::image()).await
}

#[cfg(test)]
mod tests {
    use vm_testbed::Console;

    use super::super::bare::Boot;
    use super::*;

    fn ended(code: i32, said: &str) -> OuterRun {
        OuterRun { code, said: said.into(), ready: Duration::from_secs(1), console: Console::default() }
    }

    #[test]
    fn the_result_is_the_line_that_says_so() {
        let bare = vec![Boot { alone: 1.5, agent: 2.0, workspace: 3.0 }];
        let measured = Guests { class: 8, bare: bare.clone(), ..Guests::default() };
        let line = format!("{RESULT}{}", serde_json::to_string(&measured).unwrap());
        let found = result(&ended(0, &format!("firecracker: boots\n{line}\n"))).unwrap();
        assert_eq!((found.class, found.bare), (8, bare));
        let none = result(&ended(0, "firecracker: boots\n")).unwrap_err();
        assert!(none.to_string().contains("has no result"), "{none}");
        let failed = result(&ended(1, &line)).unwrap_err();
        assert!(failed.to_string().contains("ended with 1"), "what failed later has no result: {failed}");
    }
}
