//! A VM's network interface, on a TAP in a network namespace of the test's own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    InterfaceName, KeeperCommand, MacAddress, Monitor as _, Nic, Qemu, QemuOptions, Snapshot, UserIds, VmSpec,
};
use vm_testbed::{Namespace, Need, can_run};

use crate::guest::{Guest, ended, keeper, shell};

/// The keeper, in a namespace.
fn keeper_in(namespace: &Namespace) -> Result<KeeperCommand> {
    let keeper = keeper();
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists());
    let args = ["netns", "exec", namespace.name()].into_iter().map(Into::into);
    let args = args.chain([keeper.program.into_os_string()]).collect();
    Ok(KeeperCommand { program: ip.context("no ip: install iproute2")?.into(), args })
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_guest_speaks_over_the_tap_it_is_given() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    let namespace = Namespace::new()?;
    ended(&guest, async {
        namespace.add_tap("ctt0", None)?;
        namespace.ip(&["addr", "add", "10.213.9.1/24", "dev", "ctt0"])?;
        namespace.ip(&["link", "set", "ctt0", "up"])?;
        let mut spec = guest.spec();
        spec.user = Some(UserIds { uid: 64_331, gid: 64_331 });
        spec.nics = vec![Nic { tap: InterfaceName::new("ctt0")?, mac: MacAddress([2, 0xc7, 10, 213, 9, 2]) }];
        let qemu = Qemu::new(QemuOptions::new(keeper_in(&namespace)?));
        let vm = qemu.start(&spec).await?;
        ensure!(shell(&vm, "cat /sys/class/net/eth0/address").await? == "02:c7:0a:d5:09:02");
        let ping = "ip addr add 10.213.9.2/24 dev eth0; ip link set eth0 up; ping -c 3 -W 10 10.213.9.1";
        let said = shell(&vm, ping).await?;
        ensure!(said.contains(" 0% packet loss"), "{said}");
        ensure!(namespace.ip(&["-br", "link", "show", "ctt0"])?.contains("UP"));

        // Nobody else gets it meanwhile.
        let mut second = spec.clone();
        second.folder = provider_microvm::vmm::RunFolder::new(guest.path().join("second"));
        let why = qemu.start(&second).await.err().context("two VMs on one TAP")?.to_string();
        ensure!(why.contains("TAP device ctt0: Device or resource busy"), "{why}");

        // But somebody who waits for it a little.
        let let_go = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            vm.kill().await
        };
        let (next, let_go) = tokio::join!(qemu.start(&second), let_go);
        let_go?;
        next?.kill().await?;
        // It is another's: it stays.
        ensure!(namespace.ip(&["-br", "link", "show", "ctt0"])?.contains("DOWN"));
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_guest_that_was_saved_on_one_tap_goes_on_with_another_address_on_the_next() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let (saved, seat) = (Guest::new()?, Guest::new()?);
    let namespace = Namespace::new()?;
    let nic = |tap: &str, last| {
        anyhow::Ok(vec![Nic { tap: InterfaceName::new(tap)?, mac: MacAddress([2, 0xc7, 10, 213, 9, last]) }])
    };
    let test = async {
        namespace.add_tap("ctt0", None)?;
        namespace.add_tap("ctt1", None)?;
        namespace.ip(&["addr", "add", "10.213.9.1/24", "dev", "ctt1"])?;
        namespace.ip(&["link", "set", "ctt1", "up"])?;
        let qemu = Qemu::new(QemuOptions::new(keeper_in(&namespace)?));
        let savable = qemu.start_to_save(&VmSpec { nics: nic("ctt0", 2)?, ..saved.spec() }, "").await?;
        shell(savable.vm(), "true").await?;
        qemu.save(savable, &saved.path().join("golden")).await?;
        let snapshot = Snapshot::open(&saved.path().join("golden"))?;
        let going_on = async {
            let vm = qemu.restore(&VmSpec { nics: nic("ctt1", 3)?, ..seat.spec() }, "", &snapshot).await?;
            // It has the address that it was saved with until it is told another one.
            ensure!(shell(&vm, "cat /sys/class/net/eth0/address").await? == "02:c7:0a:d5:09:02");
            let own = "ip link set eth0 address 02:c7:0a:d5:09:03";
            let ping = "ip addr add 10.213.9.3/24 dev eth0; ip link set eth0 up; ping -c 3 -W 10 10.213.9.1";
            let said = shell(&vm, &format!("{own}; {ping}")).await?;
            ensure!(said.contains(" 0% packet loss"), "{said}");
            let neighbour = namespace.ip(&["neigh", "show", "10.213.9.3"])?;
            ensure!(neighbour.contains("02:c7:0a:d5:09:03"), "{neighbour}");
            vm.kill().await?;
            Ok(())
        };
        Box::pin(ended(&seat, Box::pin(going_on))).await
    };
    Box::pin(ended(&saved, Box::pin(test))).await
}
