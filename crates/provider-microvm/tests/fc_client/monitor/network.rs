//! TAP devices, in a network namespace of the test's own.

use std::process::Command;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{InterfaceName, MacAddress, Monitor as _, Nic};
use vm_testbed::{Need, can_run};

use super::{Place, refused};
use crate::bench::real;

/// A network namespace that goes with this.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).output());
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output()?;
    ensure!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_tap_device_that_is_not_there_is_never_made() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    taps(&Place::new(None)?, "fake", false).await
}

#[tokio::test]
#[ignore = "needs root, a Firecracker and KVM"]
async fn a_tap_device_is_the_real_ones_while_it_runs() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let Some(program) = real()? else { return Ok(()) };
    taps(&Place::new(Some(program))?, "real", true).await
}

async fn taps(place: &Place, name: &str, holds: bool) -> Result<()> {
    let namespace = Namespace(format!("ctfc{}{name}", std::process::id()));
    ip(&["netns", "add", &namespace.0])?;
    let tap = |what: &str| ip(&["-n", &namespace.0, "tuntap", what, "dev", "ctt0", "mode", "tap"]);
    let mut spec = place.spec()?;
    spec.network_namespace = Some(format!("/run/netns/{}", namespace.0).into());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let why = refused(place, &place.monitor(), &spec).await?.to_string();
    ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
    let there = || ip(&["-n", &namespace.0, "link", "show", "ctt0"]).is_ok();
    ensure!(!there());

    tap("add")?;
    let test = async {
        let vm = place.monitor().start(&spec).await?;
        // The keeper has let go of it; who holds it is Firecracker, and the fake opens none.
        ensure!(tap("del").is_err() == holds);
        vm.kill().await?;
        // It is another's: it stays.
        ensure!(there() == holds);
        Ok(())
    };
    place.ended(test).await
}
