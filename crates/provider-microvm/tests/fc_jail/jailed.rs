//! One jailed VM, started by hand: by the jailer's arguments and plain HTTP on Firecracker's socket.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use provider_microvm::vmm::cgroup::Cgroup;
use provider_microvm::vmm::jail::{self, Access, FileName, JailFile, JailId, JailSpec};
use provider_microvm::vmm::{CgroupSpec, UserIds};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use vm_testbed::{BareMetal, Need};

/// What these tests take of the machine.
pub(crate) const NEEDS: [Need; 5] = [Need::Firecracker, Need::Jailer, Need::Kvm, Need::BareMetal, Need::Root];
pub(crate) const USER: UserIds = UserIds { uid: 64_331, gid: 64_332 };
/// How large a file of the monitor may become.
pub(crate) const LARGEST: u64 = 64 << 20;
/// What [`jail::powers`] asks for.
pub(crate) const POWERS: &str = "-all,+sys_admin,+mknod,+setuid,+setgid,+chown,+fowner,+dac_override";
/// After so long nothing comes any more; on a busy machine all of it takes a while.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(5);

/// A seat's folder with what a jail is made of, and what it has of the host.
pub(crate) struct Ground {
    folder: tempfile::TempDir,
    pub(crate) jailer: PathBuf,
    pub(crate) spec: JailSpec,
    pub(crate) limits: CgroupSpec,
}

impl Ground {
    pub(crate) async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let guest = BareMetal::build(folder.path())?;
        let seat = folder.path().join("seat");
        fs::create_dir(&seat)?;
        fs::write(folder.path().join("rootfs.ext4"), [0; 4096])?;
        fs::write(seat.join("data.img"), [0; 8192])?;
        let (jailer, firecracker, _) =
            jail::check(&vm_testbed::jailer()?, &vm_testbed::firecracker()?).await?;
        jail::powers()?;
        let file = |source: PathBuf, access| {
            let name =
                source.file_name().and_then(|name| FileName::new(name.to_str()?)).context("its name")?;
            anyhow::Ok(JailFile { source, name, access })
        };
        let files = vec![
            file(guest, Access::Shared)?,
            file(folder.path().join("rootfs.ext4"), Access::Shared)?,
            file(seat.join("data.img"), Access::Own)?,
        ];
        let own = folder.path().file_name().and_then(|name| name.to_str()).context("its name")?;
        let limits = CgroupSpec {
            parent: format!("clarateach-test-jail-{}", own.trim_start_matches('.')),
            name: "demo-3".into(),
            memory_bytes: 200 << 20,
            cpu_millis: 1500,
            pids: 32,
        };
        let spec = JailSpec {
            seat: "demo/3".into(),
            base: seat.join("jail"),
            id: JailId::new("demo-3").context("an id")?,
            firecracker,
            user: USER,
            network_namespace: None,
            largest_file: LARGEST,
            files,
        };
        Ok(Self { folder, jailer, spec, limits })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn cgroup(&self) -> Result<Cgroup> {
        Ok(Cgroup::find(&self.limits.parent, &self.limits.name)?)
    }

    /// The VM's cgroups, one in each hierarchy that is used.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let all = vm_testbed::cgroups(&self.limits.parent);
        all.into_iter().filter(|folder| folder.ends_with(&self.limits.name)).collect()
    }

    /// Starts a jailer in the VM's cgroup, with the powers that are asked for and no others; by a shell, which moves itself there first.
    pub(crate) fn start_jailer(&self) -> Result<Child> {
        self.cgroup()?.create(&self.limits)?;
        let script = format!(
            "jailer=$1; shift; while [ \"$1\" != . ]; do echo $$ > \"$1/cgroup.procs\" || exit 99; shift; done; shift; \
             exec setpriv --bounding-set={POWERS} \"$jailer\" \"$@\""
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "sh"]).arg(&self.jailer).args(self.cgroups()).arg(".");
        // Its log goes where the guest's console does, and into the middle of its words.
        let monitor = ["--api-sock", "/api.sock", "--level", "Error"];
        command.args(self.spec.arguments(&monitor)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// Starts a monitor in the jail that is staged.
    pub(crate) async fn start(&self) -> Result<Jailed<'_>> {
        // The jailer ends, and the monitor, which is its child, becomes this process's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut jailer = self.start_jailer()?;
        let input = jailer.stdin.take().context("its input")?;
        let output = jailer.stdout.take().context("its output")?;
        let mut complaint = jailer.stderr.take().context("its complaint")?;
        let status = jailer.wait().await?;
        if !status.success() {
            let mut said = String::new();
            complaint.read_to_string(&mut said).await?;
            bail!("the jailer ended with {status}: {said}");
        }
        let program = self.spec.firecracker.file_name().and_then(|name| name.to_str()).context("its name")?;
        let pid = fs::read_to_string(self.spec.root().join(format!("{program}.pid")))?.trim().parse()?;
        let pid = Pid::from_raw(pid).context("its number")?;
        let said = String::new();
        Ok(Jailed { ground: self, pid, ended: false, input, output, _complaint: complaint, said })
    }

    /// Removes what the VM had, and looks whether anything of it is left.
    pub(crate) fn clear(&self) -> Result<()> {
        self.cgroup()?.remove()?;
        jail::remove(&self.spec.seat, &self.spec.base)?;
        ensure!(self.cgroups().is_empty(), "{:?}", self.cgroups());
        let mut left: Vec<_> = fs::read_dir(self.spec.base.parent().context("the seat's folder")?)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<_>>()?;
        left.sort();
        ensure!(left == ["data.img"], "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let folder = self.path().to_str().context("its path")?;
        ensure!(!mounts.contains(folder), "{mounts}");
        ensure!(fs::read(self.path().join("rootfs.ext4"))? == [0; 4096], "the image has changed");
        Ok(())
    }

    /// Kills whatever is in the VM's cgroup, as somebody has to when a jailer was killed.
    pub(crate) async fn kill_all(&self) -> Result<()> {
        let folders = self.cgroups();
        let mut killed = HashSet::new();
        let all = async {
            loop {
                let mut there = 0;
                for folder in &folders {
                    for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
                        let pid = Pid::from_raw(pid.parse()?).context("not of this pid namespace")?;
                        let _ = kill_process(pid, Signal::KILL);
                        killed.insert(pid);
                        there += 1;
                    }
                }
                if there == 0 {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.context("the end of all processes in the cgroup")??;
        for pid in killed {
            // Of those that became this process's; somebody else waits for the others.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        }
        Ok(())
    }
}

/// A monitor in its jail.
pub(crate) struct Jailed<'a> {
    ground: &'a Ground,
    pub(crate) pid: Pid,
    ended: bool,
    input: ChildStdin,
    output: ChildStdout,
    /// Open, so that nothing is written into a broken pipe.
    _complaint: ChildStderr,
    said: String,
}

impl Jailed<'_> {
    /// One request on a connection of its own: the status, and the body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        tokio::time::timeout(PATIENCE, async {
            let mut stream = self.connect().await?;
            let length = body.len();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            answer(&mut stream).await
        })
        .await
        .with_context(|| format!("{method} {path}"))?
    }

    /// A connection, as soon as it listens.
    async fn connect(&self) -> Result<UnixStream> {
        let name = FileName::new("api.sock").context("a name")?;
        loop {
            match jail::connect(&self.ground.spec.root(), &name) {
                Ok(stream) => return Ok(stream),
                Err(why) => ensure!(self.is_alive()?, "the monitor has ended: {why}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Result<()> {
        let (status, said) = self.ask("PUT", path, body).await?;
        ensure!(status == 204, "PUT {path}: {status} {said}");
        Ok(())
    }

    /// Configures the VM and starts it.
    pub(crate) async fn boot(&self) -> Result<()> {
        self.put("/machine-config", r#"{"vcpu_count": 1, "mem_size_mib": 64}"#).await?;
        let kernel = r#"{"kernel_image_path": "/guest.elf", "boot_args": "console=ttyS0"}"#;
        self.put("/boot-source", kernel).await?;
        for (id, name, is_read_only) in [("root", "rootfs.ext4", true), ("data", "data.img", false)] {
            let drive = format!(
                r#"{{"drive_id": "{id}", "path_on_host": "/{name}", "is_root_device": false, "is_read_only": {is_read_only}}}"#
            );
            self.put(&format!("/drives/{id}"), &drive).await?;
        }
        self.put("/vsock", r#"{"guest_cid": 3, "uds_path": "/v.sock"}"#).await?;
        self.put("/actions", r#"{"action_type": "InstanceStart"}"#).await
    }

    /// Waits until the guest has said this on its console.
    pub(crate) async fn hear(&mut self, words: &str) -> Result<()> {
        let Self { output, said, .. } = self;
        let heard = tokio::time::timeout(PATIENCE, async {
            let mut bytes = [0; 4096];
            while !said.contains(words) {
                let count = output.read(&mut bytes).await?;
                ensure!(count > 0, "the console is closed");
                said.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            Ok(())
        });
        let heard = heard.await.unwrap_or_else(|_| bail!("nothing more came"));
        heard.with_context(|| format!("{words:?} was not heard, but {said:?}"))
    }

    /// Says something on the guest's console.
    pub(crate) async fn say(&mut self, words: &str) -> Result<()> {
        Ok(self.input.write_all(words.as_bytes()).await?)
    }

    pub(crate) fn is_alive(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(!self.ended && waitid(WaitId::Pid(self.pid), options)?.is_none())
    }

    pub(crate) fn kill(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::KILL)?)
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                if let Some(status) = waitid(WaitId::Pid(self.pid), options)? {
                    return anyhow::Ok(status);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let status = ended.await.context("the end of the monitor")??;
        self.ended = true;
        let code = status.exit_status().map(|code| code << 8);
        code.or(status.terminating_signal()).map(ExitStatus::from_raw).context("neither a code nor a signal")
    }
}

impl Drop for Jailed<'_> {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.kill());
            let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // A test that failed in the middle; one that did not has looked already.
        drop(self.cgroup().and_then(|cgroup| Ok(cgroup.remove()?)));
    }
}

/// Reads one answer: its head, and as much as that says.
async fn answer(stream: &mut UnixStream) -> Result<(u16, String)> {
    let mut text = Vec::new();
    loop {
        let end = text.windows(4).position(|part| part == b"\r\n\r\n").map(|end| end + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            if text.len() >= end + length {
                let status = head.split(' ').nth(1).context("no status")?.parse()?;
                return Ok((status, String::from_utf8_lossy(&text[end..end + length]).into_owned()));
            }
        }
        ensure!(
            stream.read_buf(&mut text).await? > 0,
            "no whole answer: {:?}",
            String::from_utf8_lossy(&text)
        );
    }
}
