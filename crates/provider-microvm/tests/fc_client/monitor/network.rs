//! TAP devices, in a network namespace of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{InterfaceName, MacAddress, Monitor as _, Nic};
use vm_testbed::{Namespace, Need, can_run};

use super::{Place, refused, script};
use crate::bench::{Bench, real};

#[tokio::test]
#[ignore = "needs root"]
async fn a_tap_device_that_is_not_there_is_never_made() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    taps(&Place::new(None)?, false).await
}

#[tokio::test]
#[ignore = "needs root, a Firecracker and KVM"]
async fn a_tap_device_is_the_real_ones_while_it_runs() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let Some(program) = real()? else { return Ok(()) };
    taps(&Place::new(Some(program))?, true).await
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_tap_device_that_is_removed_while_a_vm_starts_is_not_made_again() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let program = script(&bench, REMOVES)?;
    removed(&Place { bench, program }).await
}

#[tokio::test]
#[ignore = "needs root, a Firecracker and KVM"]
async fn a_tap_device_that_is_removed_while_a_vm_of_the_real_one_starts_is_not_made_again() -> Result<()> {
    if !can_run(&[Need::Root]) {
        return Ok(());
    }
    let Some(real) = real()? else { return Ok(()) };
    let place = Place::new(Some(real.clone()))?;
    let program = place.bench.path("firecracker");
    let script =
        format!("#!/bin/sh\n[ \"$1\" = --version ] || {{ {REMOVES}}}\nexec '{}' \"$@\"\n", real.display());
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    removed(&Place { program, ..place }).await
}

/// What a program does before it is one: the keeper has seen the device by then.
const REMOVES: &str = "ip link delete ctt0 && echo the device is removed\n";

async fn removed(place: &Place) -> Result<()> {
    let namespace = Namespace::new()?;
    namespace.add_tap("ctt0", None)?;
    let mut spec = place.spec()?;
    spec.network_namespace = Some(namespace.file());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let test = async {
        let why = refused(place, &place.monitor(), &spec).await?.to_string();
        ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
        ensure!(!namespace.has("ctt0"), "it was made");
        let console = place.console();
        ensure!(!console.contains("PUT /network-interfaces"), "{console}");
        ensure!(console.contains("the device is removed"), "the keeper has not seen it: {console}");
        Ok(())
    };
    place.ended(test).await
}

async fn taps(place: &Place, holds: bool) -> Result<()> {
    let namespace = Namespace::new()?;
    let mut spec = place.spec()?;
    spec.network_namespace = Some(namespace.file());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let why = refused(place, &place.monitor(), &spec).await?.to_string();
    ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
    let there = || namespace.has("ctt0");
    ensure!(!there());

    namespace.add_tap("ctt0", None)?;
    let test = async {
        let vm = place.monitor().start(&spec).await?;
        // The keeper has let go of it; who holds it is Firecracker, and the fake opens none.
        ensure!(namespace.is_held("ctt0") == holds);
        vm.kill().await?;
        // It is another's: it stays.
        ensure!(there() == holds);
        Ok(())
    };
    place.ended(test).await
}
