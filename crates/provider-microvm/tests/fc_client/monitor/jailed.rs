//! VMs of the fake that are jailed, which takes root and no Firecracker: a script in the jailer's stead starts the fake where a jail was made.
//!
//! What a jail is, and that nobody gets out of it, is told by the tests with the real jailer. Here it is there because only jailed VMs can be saved.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    CgroupSpec, Firecracker, FirecrackerOptions, Jailer, Snapshot, Snapshots as _, UserIds, VmSpec,
};

use super::{NAME, PATIENCE, Place, ROOT, SOCKET};
use crate::bench::saying;

mod faults;

const IMAGE: &str = "sha256:0123";
/// The last call of a boot: there are metrics from it on, with which the guest's memory is asked for once.
const BOOTED: &str = "GET /balloon/statistics";
/// How large a disk of a [`Place`] is.
const DISK: u64 = 1 << 20;

/// A [`Place`] whose VMs are jailed.
struct Jailed {
    place: Place,
    user: UserIds,
}

impl Jailed {
    fn new() -> Result<Self> {
        Self::told("")
    }

    /// One whose fake is told something more, by lines of a shell.
    fn told(more: &str) -> Result<Self> {
        // Tests run side by side, in this process and others.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let uid = 2_000_000 + std::process::id() % 10_000 * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let place = Place::new(None)?;
        let program = |name: &str, content: &[u8]| {
            fs::write(place.bench.path(name), content)?;
            fs::set_permissions(place.bench.path(name), fs::Permissions::from_mode(0o755))
        };
        // It is asked for its version, and not run in the jail: the fake is no static program.
        program("firecracker", &saying("Firecracker v1.16.1\n"))?;
        program("jailer", jailer(more)?.as_bytes())?;
        Ok(Self { place, user: UserIds { uid, gid: uid } })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.bench.path(name)
    }

    fn options(&self) -> FirecrackerOptions {
        let mut options = self.place.options();
        // One that says whose it is can be looked for.
        options.keeper.args = vec![self.path("").into()];
        options.jailer = Jailer::Program(self.path("jailer"));
        options
    }

    fn parent(&self) -> String {
        format!("clarateach-test-fake-{}", self.user.uid)
    }

    fn spec(&self) -> Result<VmSpec> {
        let mut spec = self.place.spec()?;
        spec.user = Some(self.user);
        spec.cgroup = Some(CgroupSpec {
            parent: self.parent(),
            name: "seat-1".into(),
            memory_bytes: 200 << 20,
            cpu_millis: 1500,
            pids: 32,
        });
        Ok(spec)
    }

    /// Boots a VM and saves it.
    async fn saved(&self, options: FirecrackerOptions, folder: &Path) -> Result<()> {
        let monitor = Firecracker::new(options);
        let savable = monitor.start_to_save(&self.spec()?, IMAGE).await?;
        // What is asked in the background would come in between.
        let booted = async {
            while !self.calls().iter().any(|call| call == BOOTED) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, booted).await.with_context(|| self.place.console())?;
        ensure!(self.nothing_left().is_err(), "what is there is not seen");
        Ok(monitor.save(savable, folder).await?)
    }

    /// What the fake was asked, as it says on its console.
    fn calls(&self) -> Vec<String> {
        let console = self.place.console();
        let told = console.lines().filter_map(|line| line.strip_prefix("fake: "));
        told.filter(|call| call.contains(" /")).map(str::to_owned).collect()
    }

    /// Ends the VM, also of a test that failed, and looks whether anything is left of it.
    async fn ended(&self, test: impl Future<Output = Result<()>>) -> Result<()> {
        self.place.ended(test).await?;
        self.nothing_left()
    }

    /// Looks whether anything of the VM is there: a process, a cgroup, a jail, a mount, another name of a file; and whether a snapshot is, that is not whole.
    fn nothing_left(&self) -> Result<()> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
            ensure!(
                !is_process || !vm_testbed::told_of(&entry.path(), &self.path("")),
                "process {:?} is there",
                entry.file_name()
            );
        }
        let mut cgroups = vm_testbed::cgroups(&self.parent());
        cgroups.retain(|folder| folder.ends_with("seat-1"));
        ensure!(cgroups.is_empty(), "{cgroups:?}");
        let left = self.place.left().unwrap_or_default();
        ensure!(left.iter().all(|name| name == "exit.json" || name.ends_with(".lock")), "{left:?}");
        for name in ["vmlinux", "initramfs", "root.img", "data.img"] {
            let about = fs::metadata(self.path(name))?;
            ensure!(
                about.nlink() == 1 && (about.len() == DISK || !name.ends_with(".img")),
                "{name}: {about:?}"
            );
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains(self.path("").to_str().context("its path")?), "{mounts}");
        ensure!(!self.path("golden.new").exists());
        let golden = self.path("golden");
        ensure!(!golden.exists() || Snapshot::open(&golden).is_ok());
        Ok(())
    }
}

impl Drop for Jailed {
    fn drop(&mut self) {
        // Those of all keepers, and the parent.
        for folder in vm_testbed::cgroups(&self.parent()).into_iter().rev() {
            drop(fs::remove_dir(folder));
        }
    }
}

/// What a jailer does with its arguments, as far as it matters here: it begins in the jail. What it becomes makes that its `/`, once it has its libraries.
fn jailer(more: &str) -> Result<String> {
    let this = std::env::current_exe()?;
    Ok(format!(
        "#!/bin/sh
if [ \"$1\" = --version ]; then echo 'Jailer v1.16.1'; exit; fi
while [ \"$1\" != -- ]; do
  case \"$1\" in --id) id=$2 ;; --exec-file) program=$2 ;; --chroot-base-dir) base=$2 ;; esac
  shift 2
done
export {ROOT}=\"$base/${{program##*/}}/$id/root\" {SOCKET}=\"$3\"
cd \"${ROOT}\" || exit 9
{more}
exec '{}' --exact {NAME} --nocapture
",
        this.display()
    ))
}
