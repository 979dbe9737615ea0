//! TAP devices of jailed VMs, in a network namespace of the test's own.

use std::fs;

use anyhow::{Result, ensure};
use provider_microvm::vmm::{InterfaceName, MacAddress, Nic};
use vm_testbed::{BareMetal, Namespace, can_run};

use crate::bed::{Bed, NEEDS, firecracker};

#[tokio::test]
#[ignore = "needs Firecracker, its jailer, KVM and root"]
async fn a_tap_device_is_a_jailed_vms_when_it_is_its_users_and_is_never_made() -> Result<()> {
    if !can_run(&NEEDS) {
        return Ok(());
    }
    let bed = Bed::new()?;
    let namespace = Namespace::new()?;
    let mut spec = bed.spec("1")?;
    spec.network_namespace = Some(namespace.file());
    spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
    let there = || namespace.has("ctt0");
    bed.ended(async {
        let monitor = bed.monitor()?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why == "seat demo/1: TAP device ctt0: there is none", "{why}");
        ensure!(!there());

        let user = bed.user("1").uid;
        namespace.add_tap("ctt0", Some(user + 1))?;
        let why = bed.refused(&monitor, &spec).await?.to_string();
        ensure!(why.starts_with("seat demo/1: PUT /network-interfaces/eth0: Firecracker refuses:"), "{why}");
        namespace.ip(&["link", "del", "ctt0"])?;

        namespace.add_tap("ctt0", Some(user))?;
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
