//! TAP devices, in a network namespace of the test's own: with root's right to make those that are not there, and without.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use vm_testbed::{Namespace, Need, can_run};

use super::scripts::{NETWORK, NETWORK_OF_ROOT, Script};
use super::{asked, same};
use crate::bench::{Bench, real};
use crate::fake::{Fake, Options};

/// What the real one answers in a namespace with two TAP devices, and whether there is a third one afterwards, while it runs.
async fn of_the_real_one(program: &Path, script: Script, makes_taps: bool) -> Result<(Vec<String>, bool)> {
    let namespace = Namespace::new()?;
    for tap in ["ctt0", "ctt1"] {
        namespace.add_tap(tap, None)?;
    }
    let bench = Bench::new()?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace.name()]);
    if !makes_taps {
        // Who may open the device of all TAP devices differs from host to host, so it is still root in name.
        command.args(["setpriv", "--bounding-set=-net_admin", "--"]);
    }
    command.arg(program);
    let monitor = bench.spawn(command, bench.path("api.sock"))?;
    let said = asked(&bench, monitor.socket(), "network", script).await?;
    Ok((said, namespace.has("ctt9")))
}

/// The same of the fake.
async fn of_the_fake(script: Script, makes_taps: bool) -> Result<(Vec<String>, bool)> {
    let bench = Bench::new()?;
    let options = Options { makes_taps, has_drivers: false, ..Options::default() };
    let fake = Fake::start(&bench.path("api.sock"), options)?;
    let said = asked(&bench, fake.socket(), "network", script).await?;
    Ok((said, fake.with(|process| process.made == ["ctt9"])))
}

#[tokio::test]
#[ignore = "needs a Firecracker, KVM and root"]
async fn interfaces_of_the_fake_are_those_of_the_real_one() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let Some(program) = real()? else { return Ok(()) };
    for (script, makes) in [(NETWORK, false), (NETWORK_OF_ROOT, true)] {
        let (real, is_there) = of_the_real_one(&program, script, makes).await?;
        let (fake, is_made) = of_the_fake(script, makes).await?;
        same(&real, &fake)?;
        println!("{} answers about interfaces are the same", real.len());
        ensure!(is_there == makes && is_made == makes, "there: {is_there}, made: {is_made}");
    }
    Ok(())
}

#[tokio::test]
async fn the_fake_can_be_asked_for_all_interfaces() -> Result<()> {
    for (script, makes) in [(NETWORK, false), (NETWORK_OF_ROOT, true)] {
        let (said, made) = of_the_fake(script, makes).await?;
        ensure!(said.len() == script.len() && made == makes, "{said:?}");
    }
    Ok(())
}
