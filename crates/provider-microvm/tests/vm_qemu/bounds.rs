//! What a VM may use of the host, and who it is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{CgroupSpec, Monitor as _, UserIds, Vm};
use vm_testbed::{Need, can_run};

use crate::guest::{Guest, ended, monitor, say};

/// A cgroup of this test's own.
pub(crate) fn cgroup(name: &str) -> CgroupSpec {
    CgroupSpec {
        parent: format!("clarateach-test-{}-{name}", std::process::id()),
        name: name.into(),
        memory_bytes: 700 << 20,
        cpu_millis: 1500,
        pids: 64,
    }
}

/// Where the processes of a cgroup are told, in every hierarchy.
pub(crate) fn folders(parent: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "))
        .filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|point| Path::new(point).join(parent)).filter(|folder| folder.exists()).collect())
}

fn status(vm: &Vm) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{}/status", vm.identity().vmm.pid))?)
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_vm_is_a_user_of_its_own_in_a_cgroup_with_limits() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let mut spec = guest.spec();
        let (user, cgroup) = (UserIds { uid: 64_321, gid: 64_322 }, cgroup("user"));
        spec.user = Some(user);
        spec.cgroup = Some(cgroup.clone());
        spec.drives = vec![guest.drive("root", true)?, guest.drive("data", false)?];
        let vm = monitor().start(&spec).await?;
        say(&vm, "hello", "hello").await?;

        let text = status(&vm)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        ensure!(field("Uid:") == Some("64321\t64321\t64321\t64321"), "{text}");
        ensure!(field("Gid:") == Some("64322\t64322\t64322\t64322"), "{text}");
        ensure!(field("Groups:") == Some(""), "{text}");
        ensure!(field("NoNewPrivs:") == Some("1") && field("Seccomp:") == Some("2"), "{text}");
        ensure!(field("CapEff:") == Some("0000000000000000"), "{text}");
        let limits = fs::read_to_string(format!("/proc/{}/limits", vm.identity().vmm.pid))?;
        ensure!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
        // The limit is none for a program that is given cores by a pipe (core(5)).
        let dumped = fs::read_to_string(format!("/proc/{}/coredump_filter", vm.identity().vmm.pid))?;
        ensure!(dumped == "00000000\n", "{dumped}");
        let environment = fs::read(format!("/proc/{}/environ", vm.identity().vmm.pid))?;
        ensure!(environment.is_empty());

        let folders = folders(&cgroup.parent)?;
        let pid = vm.identity().vmm.pid.to_string();
        ensure!(!folders.is_empty());
        let mut seen = std::collections::BTreeMap::new();
        for folder in &folders {
            let read = |name: &str| fs::read_to_string(folder.join("user").join(name));
            ensure!(read("cgroup.procs")?.trim() == pid, "{}", folder.display());
            let keepers = fs::read_to_string(folder.join("keepers/cgroup.procs"))?;
            ensure!(keepers.trim() == vm.identity().keeper.pid.to_string(), "{}", folder.display());
            for (name, file) in [
                ("memory", "memory.max"),
                ("memory", "memory.limit_in_bytes"),
                ("cpu", "cpu.max"),
                ("cpu", "cpu.cfs_quota_us"),
                ("pids", "pids.max"),
            ] {
                if let Ok(value) = read(file) {
                    seen.insert(name, value.trim().to_owned());
                }
            }
        }
        ensure!(seen.get("memory").context("no memory limit")? == &(700 << 20).to_string(), "{seen:?}");
        ensure!(seen.get("cpu").context("no limit of processors")?.starts_with("150000"), "{seen:?}");
        ensure!(seen.get("pids").context("no limit of threads")? == "64", "{seen:?}");

        // Whose the processes are is not known to what the service runs in any more.
        let session = fs::read_to_string(format!("/proc/{}/stat", vm.identity().keeper.pid))?;
        let session =
            session.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(4)).context("stat")?;
        ensure!(session == vm.identity().keeper.pid.to_string());
        vm.kill().await?;
        for folder in folders {
            ensure!(!folder.exists(), "{} is left", folder.display());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_vm_that_goes_over_its_memory_is_killed_and_that_is_told() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest =
        Guest::with_script("mount -t tmpfs -o size=100% tmpfs /mnt; dd if=/dev/zero of=/mnt/file bs=1M")?;
    ended(&guest, async {
        let mut spec = guest.spec();
        spec.cgroup = Some(CgroupSpec { memory_bytes: 160 << 20, ..cgroup("memory") });
        spec.memory_mib = 512;
        let vm = monitor().start(&spec).await?;
        let exit = vm.exited().await?;
        ensure!(exit.out_of_memory, "{exit:?}");
        ensure!(
            exit.to_string()
                == "the VM was killed by SIGKILL because it went over the memory limit of its cgroup"
        );
        ensure!(folders(&cgroup("memory").parent)?.iter().all(|folder| !folder.join("memory").exists()));
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_cgroup_of_others_is_left_alone() -> Result<()> {
    if !can_run(&[Need::Guest, Need::Root]) {
        return Ok(());
    }
    let guest = Guest::new()?;
    ended(&guest, async {
        let spec = cgroup("foreign");
        let point =
            folders("")?.into_iter().find(|folder| folder.ends_with("pids") || folder.ends_with("cgroup"));
        let folder = point.context("no hierarchy of pids")?.join(&spec.parent).join(&spec.name);
        fs::create_dir_all(&folder)?;
        let mut other = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn()?;
        let pid = other.id().context("it runs")?;
        fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        let result =
            monitor().start(&provider_microvm::vmm::VmSpec { cgroup: Some(spec), ..guest.spec() }).await;
        let said = result.err().context("a foreign cgroup was used")?.to_string();
        let still = fs::read_to_string(folder.join("cgroup.procs"))?;
        other.kill().await?;
        fs::remove_dir(&folder)?;
        drop(fs::remove_dir(folder.parent().context("parent")?));
        ensure!(said.contains("has processes in it that are not ours"), "{said}");
        ensure!(still.trim() == pid.to_string(), "{still}");
        Ok(())
    })
    .await
}
