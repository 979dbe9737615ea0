//! TAP devices of jailed VMs, in a network namespace of the test's own.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{InterfaceName, MacAddress, Nic};
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, NEEDS, firecracker};

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
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_tap_device_is_a_jailed_vms_when_it_is_its_users_and_is_never_made() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    let namespace = Namespace(format!("ctj{}", std::process::id()));
    ip(&["netns", "add", &namespace.0])?;
    let file = format!("/run/netns/{}", namespace.0);
    let mut spec = bed.spec("1")?;
    spec.network_namespace = Some(file.clone().into());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let there = || ip(&["-n", &namespace.0, "link", "show", "ctt0"]).is_ok();
    let add = |uid: u32| {
        let uid = uid.to_string();
        ip(&["-n", &namespace.0, "tuntap", "add", "dev", "ctt0", "mode", "tap", "user", &uid])
    };
    bed.ended(async {
        let monitor = bed.monitor()?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
        ensure!(!there());

        let user = bed.user("1").uid;
        add(user + 1)?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why.starts_with("seat demo/1: PUT /network-interfaces/eth0: Firecracker refuses:"), "{why}");
        ip(&["-n", &namespace.0, "link", "del", "ctt0"])?;

        add(user)?;
        let vm = provider_microvm::vmm::Monitor::start(&monitor, &spec).await?;
        bed.hears("1", BareMetal::GREETING).await?;
        let own = fs::read_link(format!("/proc/{}/ns/net", firecracker(&vm)?))?;
        ensure!(own != fs::read_link("/proc/self/ns/net")?, "it is in this network");
        let held = ip(&["-n", &namespace.0, "tuntap", "del", "dev", "ctt0", "mode", "tap"]);
        ensure!(held.is_err(), "it does not hold the device");
        vm.kill().await?;
        // It is another's: it stays.
        ensure!(there());
        Ok(())
    })
    .await
}
