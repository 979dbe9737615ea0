//! A folder with what jailed VMs are made of, and a look at what is left of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    Accelerator, CgroupSpec, Drive, Firecracker, FirecrackerOptions, Jailer, KeeperCommand, LogFile,
    Monitor as _, RunFolder, Serial, UserIds, Vm, VmSpec, VmmError,
};
use rustix::process::{Pid, Signal, kill_process};
use vm_testbed::{BareMetal, Need};

/// What these tests take of the machine.
pub(crate) const NEEDS: [Need; 5] = [Need::Firecracker, Need::Jailer, Need::Kvm, Need::BareMetal, Need::Root];
/// After so long nothing comes any more; on a busy machine all of it takes a while.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(5);
/// How large the disk of a VM is.
pub(crate) const DISK: u64 = 32 << 20;
/// What is left in a VM's folder when it has ended.
pub(crate) const ENDED: [&str; 3] = ["exit.json", "keeper.lock", "launch.lock"];

/// A folder with a guest, an image that VMs share, and VMs with a disk each.
pub(crate) struct Bed {
    folder: Option<tempfile::TempDir>,
    path: PathBuf,
    uid: u32,
}

impl Bed {
    pub(crate) fn new() -> Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    /// One in a folder.
    pub(crate) fn within(folder: &Path) -> Result<Self> {
        // Tests run side by side, in this process and others.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let uid = 200_000 + std::process::id() % 10_000 * 100 + NEXT.fetch_add(1, Ordering::Relaxed) * 4;
        let folder = tempfile::Builder::new().prefix("jail").tempdir_in(folder)?;
        BareMetal::build(folder.path())?;
        for (name, size) in [("rootfs.ext4", 1 << 20), ("initramfs", 4096)] {
            let file = fs::File::create(folder.path().join(name))?;
            file.set_len(size)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        fs::write(folder.path().join("uid"), uid.to_string())?;
        let path = folder.path().to_owned();
        let bed = Self { folder: Some(folder), path, uid };
        bed.make_seat("1")?;
        Ok(bed)
    }

    /// One that another process has made.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let uid = fs::read_to_string(path.join("uid"))?.parse()?;
        Ok(Self { folder: None, path: path.to_owned(), uid })
    }

    /// The folder of another seat, with its disk.
    pub(crate) fn make_seat(&self, seat: &str) -> Result<()> {
        fs::create_dir(self.path(seat))?;
        fs::File::create(self.path(seat).join("data.img"))?.set_len(DISK)?;
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn options(&self) -> Result<FirecrackerOptions> {
        // One that says whose it is can be seen before it has opened anything.
        let args = vec![self.path.clone().into()];
        let keeper = KeeperCommand { program: env!("CARGO_BIN_EXE_vmm-keeper").into(), args };
        let mut options = FirecrackerOptions::new(keeper);
        options.program = vm_testbed::firecracker()?;
        let ours = self.path("jailer");
        options.jailer = Jailer::Program(if ours.exists() { ours } else { vm_testbed::jailer()? });
        Ok(options)
    }

    pub(crate) fn monitor(&self) -> Result<Firecracker> {
        Ok(Firecracker::new(self.options()?))
    }

    /// A jailer that does something before it is one; `FOLDER` is this one.
    pub(crate) fn wrap_jailer(&self, before: &str) -> Result<()> {
        let before = before.replace("FOLDER", &self.path.display().to_string());
        let real = vm_testbed::jailer()?;
        let real = real.display();
        let script = format!("#!/bin/sh\n[ \"$1\" = --version ] || {{ {before}; }}\nexec {real} \"$@\"\n");
        fs::write(self.path("jailer"), script)?;
        Ok(fs::set_permissions(self.path("jailer"), fs::Permissions::from_mode(0o755))?)
    }

    /// One that tells when it has been started, and is one a little later. It cannot kill anybody itself: it sees no process but its own.
    pub(crate) fn slow_jailer(&self) -> Result<()> {
        self.wrap_jailer("echo > FOLDER/jailing; /bin/sleep 0.3")
    }

    /// Waits until that one has been started, and so long.
    pub(crate) async fn jailing(&self, milliseconds: u64) -> Result<()> {
        let told = self.path("jailing");
        let started = async {
            while !told.exists() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, started).await.context("no jailer was started")?;
        fs::remove_file(told)?;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        Ok(())
    }

    /// The keeper that has the lock of a VM's folder.
    pub(crate) fn keeper(&self, seat: &str) -> Result<i32> {
        let text = fs::read_to_string(self.run(seat).path().join("keeper.lock"))?;
        let owner: serde_json::Value = serde_json::from_str(&text)?;
        let pid = owner["keeper"]["pid"].as_i64().with_context(|| text.clone())?;
        Ok(i32::try_from(pid)?)
    }

    pub(crate) fn user(&self, seat: &str) -> UserIds {
        let number: u32 = seat.parse().unwrap_or(0);
        UserIds { uid: self.uid + number, gid: self.uid + number + 50_000 }
    }

    pub(crate) fn parent(&self) -> String {
        let own = self.path.file_name().and_then(|name| name.to_str()).unwrap_or("none");
        format!("clarateach-test-{own}")
    }

    pub(crate) fn run(&self, seat: &str) -> RunFolder {
        RunFolder::new(self.path(seat).join("run"))
    }

    pub(crate) fn spec(&self, seat: &str) -> Result<VmSpec> {
        let drive = |path, serial: &str, read_only| -> Result<Drive> {
            Ok(Drive { path, serial: Serial::new(serial)?, read_only, throttle: None })
        };
        let data = self.path(seat).join("data.img");
        Ok(VmSpec {
            seat: format!("demo/{seat}"),
            folder: self.run(seat),
            kernel: self.path("guest.elf"),
            initramfs: self.path("initramfs"),
            command_line: "quiet".into(),
            vcpus: 1,
            memory_mib: 64,
            drives: vec![drive(self.path("rootfs.ext4"), "root", true)?, drive(data, "data", false)?],
            nics: Vec::new(),
            network_namespace: None,
            user: Some(self.user(seat)),
            cgroup: Some(CgroupSpec {
                parent: self.parent(),
                name: format!("seat-{seat}"),
                memory_bytes: 200 << 20,
                cpu_millis: 1500,
                pids: 32,
            }),
            console: LogFile { path: self.path(seat).join("console.log"), max_bytes: 1 << 20, files: 2 },
            accelerator: Accelerator::Auto,
        })
    }

    /// Starts a VM as the provider does, with a keeper that waits.
    pub(crate) async fn start_as(&self, spec: &VmSpec) -> Result<Vm> {
        let monitor = self.monitor()?;
        let mut expected = monitor.expect();
        expected.ready().await;
        let vm = monitor.start(spec).await;
        expected.over().await;
        Ok(vm?)
    }

    pub(crate) async fn start(&self, seat: &str) -> Result<Vm> {
        self.start_as(&self.spec(seat)?).await
    }

    pub(crate) async fn adopt(&self, seat: &str) -> Result<Option<Vm>> {
        Ok(self.monitor()?.adopt(&format!("demo/{seat}"), &self.run(seat)).await?)
    }

    pub(crate) async fn clear(&self, seat: &str) -> Result<()> {
        Ok(self.monitor()?.clear(&format!("demo/{seat}"), &self.run(seat)).await?)
    }

    /// Why a VM does not start, after which nothing of it is left.
    pub(crate) async fn refused(&self, monitor: &Firecracker, spec: &VmSpec) -> Result<VmmError> {
        let why = monitor.start(spec).await.map(drop).err().context("it was started")?;
        self.nothing_left().with_context(|| why.to_string())?;
        Ok(why)
    }

    pub(crate) fn console(&self, seat: &str) -> String {
        fs::read_to_string(self.path(seat).join("console.log")).unwrap_or_default()
    }

    /// Waits until the guest has said this on its console.
    pub(crate) async fn hears(&self, seat: &str, words: &str) -> Result<()> {
        let heard = async {
            while !self.console(seat).contains(words) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        heard.with_context(|| format!("{words:?} was not heard, but {:?}", self.console(seat)))
    }

    /// The names in the folder of a VM.
    pub(crate) fn left(&self, seat: &str) -> Result<Vec<String>> {
        names(self.run(seat).path())
    }

    /// The cgroups of a VM, one in each hierarchy that is used.
    pub(crate) fn cgroups(&self, seat: &str) -> Vec<PathBuf> {
        let all = vm_testbed::cgroups(&self.parent());
        all.into_iter().filter(|folder| folder.ends_with(format!("seat-{seat}"))).collect()
    }

    /// Waits until no keeper runs that was started for this bed, and nothing else.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let quiet = async {
            while !self.processes()?.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, quiet).await.context("the end of all processes")?
    }

    /// Processes of the seats' users, and of keepers that were started for this bed.
    pub(crate) fn processes(&self) -> Result<BTreeSet<i32>> {
        let users: Vec<_> = (0..4).map(|number| self.uid + number).collect();
        let this = std::env::current_exe()?;
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that another test has begun to start is this program still, and has open what that has.
            if fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == this) {
                continue;
            }
            let is_users = entry.metadata().is_ok_and(|about| users.contains(&about.uid()));
            if is_users || vm_testbed::told_of(&entry.path(), &self.path) {
                found.insert(pid);
            }
        }
        Ok(found)
    }

    /// Looks whether anything of a VM is there: a process, a cgroup, a jail, a mount; and whether what VMs share is as it was.
    pub(crate) fn nothing_left(&self) -> Result<()> {
        let processes = self.processes()?;
        ensure!(processes.is_empty(), "{processes:?}");
        for seat in ["1", "2"].into_iter().filter(|seat| self.path(seat).exists()) {
            ensure!(self.cgroups(seat).is_empty(), "{:?}", self.cgroups(seat));
            let left = self.left(seat).unwrap_or_default();
            ensure!(left.iter().all(|name| ENDED.contains(&name.as_str())), "{left:?}");
            let disk = fs::metadata(self.path(seat).join("data.img"))?;
            ensure!((disk.nlink(), disk.len()) == (1, DISK), "the disk has {} names", disk.nlink());
        }
        let image = fs::metadata(self.path("rootfs.ext4"))?;
        ensure!((image.uid(), image.mode() & 0o7777, image.nlink()) == (0, 0o644, 1), "{image:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains(self.path.to_str().context("its path")?), "{mounts}");
        Ok(())
    }

    /// Ends the VMs, also of a test that failed, and looks whether anything is left.
    pub(crate) async fn ended(&self, test: impl Future<Output = Result<()>>) -> Result<()> {
        let result = tokio::time::timeout(PATIENCE * 2, test).await.context("too slow");
        let seats: Vec<_> = ["1", "2"].into_iter().filter(|seat| self.path(seat).exists()).collect();
        for seat in &seats {
            self.clear(seat).await?;
        }
        let consoles: Vec<_> = seats.iter().map(|seat| self.console(seat)).collect();
        result?.with_context(|| format!("the consoles say {consoles:?}"))?;
        self.nothing_left()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.folder.is_some() {
            // A keeper that was killed leaves those of all keepers.
            for folder in vm_testbed::cgroups(&self.parent()).into_iter().rev() {
                drop(fs::remove_dir(folder));
            }
        }
    }
}

pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let mut names: Vec<_> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// The monitor itself, which is the only child of the process that is the VM.
pub(crate) fn firecracker(vm: &Vm) -> Result<i32> {
    let init = vm.identity().vmm.pid;
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children"))?;
    Ok(children.trim().parse()?)
}

pub(crate) fn signal(pid: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("no pid")?, signal)?)
}
