//! What goes wrong with a VM, and what is left then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    Accel, Accelerator, InterfaceName, KeeperCommand, MacAddress, Monitor as _, Nic, Qemu, QemuOptions,
    Throttle, VmmError,
};
use rustix::process::{Pid, Signal, kill_process};
use vm_testbed::{Need, can_run};

use crate::bounds::{cgroup, folders};
use crate::guest::{Guest, ended, keeper, monitor, processes, say, shell};

fn signal(pid: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("no pid")?, signal)?)
}

/// The program as QEMU that this script is.
fn scripted(guest: &Guest, script: &str) -> Result<Qemu> {
    let program = guest.path().join("qemu");
    let version = r#"[ "$1" = --version ] && { echo QEMU emulator version 7.2.0; exit; }"#;
    fs::write(&program, format!("#!/bin/sh\n{version}\n{script}\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let start_timeout = Duration::from_secs(3);
    Ok(Qemu::new(QemuOptions { program, start_timeout, ..QemuOptions::new(keeper()) }))
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn the_end_of_a_vm_is_noticed_and_told() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let spec = guest.spec();
        let vm = monitor().start(&spec).await?;
        let waiting = tokio::spawn(async move { (vm.exited().await.map(|exit| exit.to_string()), vm) });
        let pid = guest.run_folder().identity()?.context("it is there")?.vmm.pid;
        signal(pid, Signal::SEGV)?;
        let (told, vm) = waiting.await?;
        ensure!(told? == "the VM was killed by SIGSEGV");
        ensure!(!vm.is_alive()?);
        // Whoever asks later is told the same, and another VM can be started in its place.
        ensure!(vm.exited().await?.to_string() == "the VM was killed by SIGSEGV");
        let next = monitor().start(&spec).await?;
        ensure!(guest.run_folder().exit()?.is_none(), "the end of the last one is not this one's");
        vm.kill().await?;
        ensure!(next.is_alive()?, "an old handle does not end a new VM");
        say(&next, "hello", "hello").await?;
        say(&next, "end", "").await.ok();
        let told = next.exited().await?.to_string();
        ensure!(told == "the guest switched the VM off or restarted it", "{told}");
        Ok(())
    })
    .await
}

/// The monitor cannot tell a panic from an orderly restart.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_panic_of_the_guests_kernel_is_told_by_its_words() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let vm = monitor().start(&guest.spec()).await?;
        if !say(&vm, "shell ls /proc", "done").await?.contains("sysrq-trigger") {
            vm_testbed::skip("the guest kernel has no /proc/sysrq-trigger");
            return Ok(());
        }
        say(&vm, "shell echo c > /proc/sysrq-trigger", "done").await.ok();
        let told = vm.exited().await?.to_string();
        ensure!(told == "the guest's kernel panicked: sysrq triggered crash", "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_killed_keeper_takes_its_vm_along_and_leaves_nothing() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut spec = guest.spec();
        spec.cgroup = Some(cgroup("keeper"));
        let vm = monitor().start(&spec).await?;
        signal(vm.identity().keeper.pid, Signal::TERM)?;
        signal(vm.identity().keeper.pid, Signal::HUP)?;
        say(&vm, "hello", "hello").await?;
        signal(vm.identity().keeper.pid, Signal::KILL)?;
        let told = vm.exited().await?.to_string();
        ensure!(told == "the VM was killed together with its keeper, or the host restarted", "{told}");
        ensure!(monitor().adopt("demo/1", &guest.run_folder()).await?.is_none());
        vm.kill().await?;
        for folder in folders(&cgroup("keeper").parent)? {
            ensure!(!folder.join("keeper").exists());
            drop(fs::remove_dir(folder.join("keepers")));
            fs::remove_dir(folder)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn records_that_are_lost_or_damaged_do_not_keep_a_vm() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let spec = guest.spec();
        for damage in ["vmm.json", "keeper.lock"] {
            let vm = monitor().start(&spec).await?;
            fs::write(guest.run_folder().path().join(damage), "{\"schema\"")?;
            if damage == "vmm.json" {
                let why = monitor().adopt("demo/1", &guest.run_folder()).await.err().context("adopted")?;
                ensure!(why.to_string().starts_with("seat demo/1: reading vmm.json in"), "{why}");
            }
            monitor().clear("demo/1", &guest.run_folder()).await?;
            ensure!(!vm.is_alive()?, "{damage}");
            monitor().clear("demo/1", &guest.run_folder()).await?;
        }
        let vm = monitor().start(&spec).await?;
        fs::remove_file(guest.run_folder().path().join("vmm.json"))?;
        monitor().clear("demo/1", &guest.run_folder()).await?;
        ensure!(!vm.is_alive()?);
        // The identity of another run of the host, or of another process with the same number.
        let mut identity = vm.identity().clone();
        identity.vmm = provider_microvm::vmm::ProcessId::of(i32::try_from(std::process::id())?)?;
        identity.vmm.start_time += 1;
        fs::write(guest.run_folder().path().join("vmm.json"), serde_json::to_vec(&identity)?)?;
        ensure!(monitor().adopt("demo/1", &guest.run_folder()).await?.is_none());
        identity.vmm.start_time -= 1;
        identity.boot_id = "another".into();
        fs::write(guest.run_folder().path().join("vmm.json"), serde_json::to_vec(&identity)?)?;
        ensure!(monitor().adopt("demo/1", &guest.run_folder()).await?.is_none());
        monitor().clear("demo/1", &guest.run_folder()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn one_folder_has_one_vm() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let spec = guest.spec();
        let (one, other) =
            tokio::join!(async { monitor().start(&spec).await }, async { monitor().start(&spec).await });
        let (vm, why) = match (one, other) {
            (Ok(vm), Err(why)) | (Err(why), Ok(vm)) => (vm, why),
            (Ok(_), Ok(_)) => anyhow::bail!("two VMs in one folder"),
            (Err(one), Err(other)) => anyhow::bail!("no VM: {one}; {other}"),
        };
        ensure!(matches!(why, VmmError::Busy { .. }), "{why}");
        ensure!(matches!(monitor().start(&spec).await, Err(VmmError::Busy { .. })));
        say(&vm, "hello", "hello").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_guest_that_floods_its_console_fills_no_disk() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::with_script(
        "i=0; while [ $i -lt 200 ]; do i=$((i+1)); dd if=/dev/zero bs=1k count=1 2>/dev/null | tr '\\0' x; echo; done; echo the end",
    )?;
    ended(&guest, async {
        let mut spec = guest.spec();
        spec.console.max_bytes = 16 << 10;
        let vm = monitor().start(&spec).await?;
        vm.exited().await?;
        let console = guest.console();
        ensure!(console.contains("the end"), "the newest is kept");
        let sizes: Vec<_> = fs::read_dir(guest.path())?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("console.log"))
            .map(|entry| entry.metadata().map(|data| data.len()))
            .collect::<Result<_, _>>()?;
        ensure!(sizes.len() == 2 && sizes.iter().all(|size| *size <= 16 << 10), "{sizes:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_vm_is_paused_and_its_drives_are_slowed_down() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut spec = guest.spec();
        let slow = Throttle { bytes_per_second: 1 << 20, operations_per_second: 0 };
        let mut drive = guest.drive("data", false)?;
        drive.throttle = Some(slow);
        spec.drives = vec![drive.clone()];
        let vm = monitor().start(&spec).await?;
        say(&vm, "hello", "hello").await?;
        vm.pause().await?;
        ensure!(vm.qmp().await?.query_status().await? == provider_microvm::vmm::qemu::RunState::Paused);
        vm.resume().await?;
        vm.resume().await?;
        // A second monitor has the socket to itself when the first is gone, and the limits are still there.
        drop(vm);
        let vm = monitor().adopt("demo/1", &guest.run_folder()).await?.context("it runs")?;
        let write = "T=$(date +%s); dd if=/dev/zero of=/dev/vda bs=64k count=128 oflag=direct; echo $(($(date +%s) - T))";
        let seconds: u32 = shell(&vm, write).await?.lines().last().context("no time")?.parse()?;
        // 8 MiB, of which one is let through at once; not faster than they may be, however slow the host.
        ensure!(seconds >= 5, "{seconds}");
        vm.set_throttle(&drive.serial, Throttle { bytes_per_second: 0, operations_per_second: 0 }).await?;
        let missing = provider_microvm::vmm::Serial::new("none")?;
        let why = vm.set_throttle(&missing, slow).await.err().context("there is no such drive")?.to_string();
        ensure!(why.starts_with("seat demo/1: QEMU refuses block_set_io_throttle: "), "{why}");
        vm.press_power().await?;
        vm.kill().await?;
        ensure!(vm.pause().await.is_err());
        ensure!(vm.connect_agent().await.is_err());
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn what_a_vm_lacks_is_told_in_words() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let failing = async |spec: &provider_microvm::vmm::VmSpec| -> Result<String> {
            let why = monitor().start(spec).await.err().context("it started")?.to_string();
            ensure!(processes(guest.path())?.is_empty(), "{why}");
            ensure!(monitor().adopt("demo/1", &guest.run_folder()).await?.is_none());
            Ok(why)
        };
        let mut spec = guest.spec();
        spec.kernel = guest.path().join("no-kernel");
        let said = failing(&spec).await?;
        ensure!(said.ends_with("no-kernel: No such file or directory (os error 2)"), "{said}");

        fs::write(&spec.kernel, "not a kernel at all")?;
        let said = failing(&spec).await?;
        ensure!(
            said.starts_with(
                "seat demo/1: the VM ended while it started: the VM monitor gave up with exit code 1: "
            ),
            "{said}"
        );

        let mut spec = guest.spec();
        let drive = guest.drive("data", false)?;
        fs::remove_file(&drive.path)?;
        spec.drives = vec![drive];
        let said = failing(&spec).await?;
        ensure!(said.ends_with("data.img: No such file or directory (os error 2)"), "{said}");

        let mut spec = guest.spec();
        spec.nics =
            vec![Nic { tap: InterfaceName::new("ctt-not-there")?, mac: MacAddress([2, 0, 0, 0, 0, 1]) }];
        let said = failing(&spec).await?;
        ensure!(said == "seat demo/1: TAP device ctt-not-there: there is none", "{said}");
        ensure!(!Path::new("/sys/class/net/ctt-not-there").exists());

        let mut spec = guest.spec();
        spec.folder = provider_microvm::vmm::RunFolder::new(guest.path().join("no/such/folder"));
        let said = failing(&spec).await?;
        ensure!(said.ends_with("no/such/folder: No such file or directory (os error 2)"), "{said}");

        let mut spec = guest.spec();
        spec.memory_mib = 32;
        ensure!(failing(&spec).await? == "seat demo/1: a guest needs at least 64 MiB of memory");

        // A drive that another VM writes.
        let mut spec = guest.spec();
        spec.drives = vec![guest.drive("data", false)?];
        let vm = monitor().start(&spec).await?;
        let mut second = spec.clone();
        second.folder = provider_microvm::vmm::RunFolder::new(guest.path().join("second"));
        let why = monitor().start(&second).await.err().context("two VMs write one drive")?.to_string();
        ensure!(why.contains("lock"), "{why}");
        vm.kill().await.map_err(Into::into)
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_monitor_that_is_none_is_told() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let failing = async |monitor: Qemu| -> Result<String> {
            let why = monitor.start(&guest.spec()).await.err().context("it started")?.to_string();
            monitor.clear("demo/1", &guest.run_folder()).await?;
            ensure!(processes(guest.path())?.is_empty(), "{why}");
            Ok(why)
        };
        let with =
            |program: &str| Qemu::new(QemuOptions { program: program.into(), ..QemuOptions::new(keeper()) });
        ensure!(failing(with("no-such-qemu")).await?.contains("not found: install QEMU"));
        ensure!(failing(with("/etc/passwd")).await?.contains("cannot be run"));

        let said = failing(scripted(&guest, "exec sleep 600")?).await?;
        ensure!(said.contains("did not happen within 3 s"), "{said}");
        let said = failing(scripted(&guest, "echo no luck today >&2; exit 3")?).await?;
        ensure!(said.ends_with("the VM monitor gave up with exit code 3: no luck today"), "{said}");
        let said = failing(scripted(&guest, "kill -ABRT $$")?).await?;
        ensure!(said.ends_with("the VM was killed by SIGABRT"), "{said}");

        let no_keeper = |program: &str, args: &[&str]| {
            let args = args.iter().map(Into::into).collect();
            Qemu::new(QemuOptions::new(KeeperCommand { program: program.into(), args }))
        };
        let said = failing(no_keeper("/no/such/keeper", &[])).await?;
        ensure!(said.contains("its keeper /no/such/keeper cannot be started"), "{said}");
        let said = failing(no_keeper("/bin/sh", &["-c", "echo what is this >&2; exit 2"])).await?;
        ensure!(said.ends_with("ended without an answer (exit status: 2): what is this"), "{said}");
        let said = failing(no_keeper("/bin/echo", &["hello"])).await?;
        ensure!(said.contains("its keeper's answer is not understood"), "{said}");
        Ok(())
    })
    .await
}

/// With KVM that the probe takes for good, and a QEMU that cannot use it.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_vm_that_may_use_kvm_runs_without_it_when_qemu_cannot() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let program = guest.path().join("qemu");
        let script = "#!/bin/sh\ncase \"$*\" in *'-accel kvm'*) echo no MSR 0x10a >&2; kill -ABRT $$;; esac\n\
                      exec /usr/bin/qemu-system-x86_64 \"$@\"\n";
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let accelerator = Some(Accel::Kvm);
        let qemu = Qemu::new(QemuOptions { program, accelerator, ..QemuOptions::new(keeper()) });
        let mut spec = guest.spec();
        spec.accelerator = Accelerator::Kvm;
        let why = qemu.start(&spec).await.err().context("it started")?.to_string();
        ensure!(why.ends_with("the VM was killed by SIGABRT: no MSR 0x10a"), "{why}");
        spec.accelerator = Accelerator::Auto;
        let vm = qemu.start(&spec).await?;
        say(&vm, "hello", "hello").await?;
        let wanted = "QEMU does not start with KVM: the VM was killed by SIGABRT: no MSR 0x10a";
        ensure!(qemu.accelerator().await == Accel::Tcg { why: wanted.into() });
        Ok(())
    })
    .await
}

/// Whatever this host has: a stock kernel runs with what the probe chose.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn the_probe_chooses_what_a_guest_runs_with() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let qemu = monitor();
        let mut spec = guest.spec();
        spec.accelerator = Accelerator::Auto;
        let vm = qemu.start(&spec).await?;
        say(&vm, "hello", "hello").await?;
        vm.kill().await?;
        if let Accel::Tcg { why } = qemu.accelerator().await {
            spec.accelerator = Accelerator::Kvm;
            let said = qemu.start(&spec).await.err().context("it started")?.to_string();
            ensure!(said.starts_with(&format!("KVM cannot be used: {why}; set the accelerator")), "{said}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_hung_monitor_is_told_and_can_still_be_killed() -> Result<()> {
    if !can_run(&[Need::Guest]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let vm = monitor().start(&guest.spec()).await?;
        signal(vm.identity().vmm.pid, Signal::STOP)?;
        let why = vm.pause().await.err().context("it answered")?.to_string();
        ensure!(why.starts_with("seat demo/1: QEMU did not answer stop within"), "{why}");
        ensure!(vm.is_alive()?);
        vm.kill().await?;
        Ok(())
    })
    .await
}
