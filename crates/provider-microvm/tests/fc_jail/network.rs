//! TAP devices of jailed VMs, in a network namespace of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{InterfaceName, MacAddress, Nic};
use vm_testbed::{BareMetal, can_run};

use crate::bed::{Bed, NEEDS, firecracker};

/// A network namespace that goes with this.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let this = Self(format!("ctj{}{name}", std::process::id()));
        ip(&["netns", "add", &this.0])?;
        Ok(this)
    }

    pub(crate) fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// Makes a TAP device that is a user's.
    pub(crate) fn add(&self, tap: &str, uid: u32) -> Result<()> {
        ip(&["-n", &self.0, "tuntap", "add", "dev", tap, "mode", "tap", "user", &uid.to_string()])
    }

    /// Whether somebody holds a TAP device; when nobody does, it is gone afterwards.
    pub(crate) fn is_held(&self, tap: &str) -> bool {
        ip(&["-n", &self.0, "tuntap", "del", "dev", tap, "mode", "tap"]).is_err()
    }
}

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
    let namespace = Namespace::new("taps")?;
    let mut spec = bed.spec("1")?;
    spec.network_namespace = Some(namespace.file());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let there = || ip(&["-n", &namespace.0, "link", "show", "ctt0"]).is_ok();
    bed.ended(async {
        let monitor = bed.monitor()?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
        ensure!(!there());

        let user = bed.user("1").uid;
        namespace.add("ctt0", user + 1)?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why.starts_with("seat demo/1: PUT /network-interfaces/eth0: Firecracker refuses:"), "{why}");
        ip(&["-n", &namespace.0, "link", "del", "ctt0"])?;

        namespace.add("ctt0", user)?;
        let vm = bed.start_as(&spec).await?;
        bed.hears("1", BareMetal::GREETING).await?;
        let own = fs::read_link(format!("/proc/{}/ns/net", firecracker(&vm)?))?;
        ensure!(own != fs::read_link("/proc/self/ns/net")?, "it is in this network");
        ensure!(namespace.is_held("ctt0"), "it does not hold the device");
        vm.kill().await?;
        // It is another's: it stays.
        ensure!(there());
        Ok(())
    })
    .await
}
