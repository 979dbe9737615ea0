//! QEMU's smallest machine.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::console::MOST;
use crate::{BootError, Console, Initramfs, Kernel};

pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// The serial line; `reboot=t` ends the machine by a triple fault, which is the one way that microvm has. Under TCG the clock's
/// calibration hangs, so its outcome is given, and on a busy host its check finds wrongly that it is off.
const ARGUMENTS: &str = "console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000 tsc=reliable";
/// How often one without a timer is started again.
const AGAIN: usize = 2;

/// A disk of a machine, `/dev/vda` for the first.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The raw image.
    pub file: PathBuf,
    /// Whether the guest may write to it.
    pub writable: bool,
}

/// A machine: one processor, emulated.
#[derive(Clone, Debug)]
pub struct Machine {
    kernel: Kernel,
    memory: u32,
    disks: Vec<(Disk, Option<String>)>,
    ports: Vec<(String, PathBuf)>,
    arguments: String,
    timer: bool,
}

impl Machine {
    /// A machine with this kernel and 512 MiB.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        let arguments = ARGUMENTS.into();
        Self { kernel, memory: 512, disks: Vec::new(), ports: Vec::new(), arguments, timer: true }
    }

    /// Its memory in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// One more disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push((disk, None));
        self
    }

    /// One more disk, with a serial number of at most 20 characters by which the guest finds it.
    #[must_use]
    pub fn named_disk(mut self, serial: &str, disk: Disk) -> Self {
        self.disks.push((disk, Some(serial.into())));
        self
    }

    /// A virtio-serial port of this name, on a unix socket that QEMU makes and listens on.
    #[must_use]
    pub fn port(mut self, name: &str, socket: &Path) -> Self {
        self.ports.push((name.into(), socket.into()));
        self
    }

    /// One more word of the kernel's command line.
    #[must_use]
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(' ');
        self.arguments.push_str(word);
        self
    }

    /// As one whose kernel gave its timer up: no sleep in it ends. The kernel uses none but the PIT, which is left out, and does not look whether that ticks.
    #[must_use]
    pub fn without_timer(mut self) -> Self {
        self.timer = false;
        self.argument("nolapic_timer").argument("no_timer_check")
    }

    /// Runs it until it ends. One whose kernel gave its timer up, as it may on a busy host, is started again before its script runs, twice at most.
    ///
    /// # Errors
    /// When there is no QEMU, QEMU fails, or the guest is still there after `limit`; it is killed then.
    pub fn run(&self, initramfs: Initramfs, limit: Duration) -> Result<Console, BootError> {
        let first_root = initramfs.finish();
        let mut console = self.started(&first_root)?.wait(limit)?;
        for _ in 0..AGAIN {
            if console.after("guest: no timer").next().is_none() {
                break;
            }
            console = self.started(&first_root)?.wait(limit)?;
        }
        Ok(console)
    }

    /// Starts it.
    ///
    /// # Errors
    /// When there is no QEMU, or its files cannot be written.
    pub fn start(&self, initramfs: Initramfs) -> Result<Started, BootError> {
        self.started(&initramfs.finish())
    }

    fn started(&self, first_root: &[u8]) -> Result<Started, BootError> {
        let folder = tempfile::tempdir().map_err(BootError::io(std::env::temp_dir()))?;
        Started::of(folder, first_root, |first_root, console| self.command(first_root, console))
    }

    fn command(&self, first_root: &Path, console: &Path) -> Command {
        let mut qemu = Command::new(QEMU);
        let pit = if self.timer { "on" } else { "off" };
        qemu.args([
            "-M",
            &format!("microvm,pit={pit},pic=on,rtc=on,acpi=on"),
            "-accel",
            "tcg",
            "-cpu",
            "max",
        ]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-m", &self.memory.to_string(), "-append", &self.arguments]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(first_root);
        qemu.args([
            "-chardev",
            &format!("file,id=console,path={}", option(console)),
            "-serial",
            "chardev:console",
        ]);
        for (number, (disk, serial)) in self.disks.iter().enumerate() {
            let read_only = if disk.writable { "off" } else { "on" };
            let file = option(&disk.file);
            qemu.args([
                "-drive",
                &format!("if=none,id=disk{number},format=raw,readonly={read_only},file={file}"),
            ]);
            let serial = serial.as_ref().map(|serial| format!(",serial={serial}")).unwrap_or_default();
            qemu.args(["-device", &format!("virtio-blk-device,drive=disk{number}{serial}")]);
        }
        if !self.ports.is_empty() {
            qemu.args(["-device", "virtio-serial-device"]);
        }
        for (number, (name, socket)) in self.ports.iter().enumerate() {
            let path = option(socket);
            qemu.args(["-chardev", &format!("socket,id=port{number},path={path},server=on,wait=off")]);
            qemu.args(["-device", &format!("virtserialport,chardev=port{number},name={name}")]);
        }
        qemu
    }
}

/// A path as a value of one of QEMU's options, where a comma is written twice.
pub(crate) fn option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could be read is better than nothing.
        drop(file.take(MOST).read_to_end(&mut bytes));
    }
    bytes
}

/// A machine that was started; it is killed when this is dropped.
#[derive(Debug)]
pub struct Started {
    running: Running,
    folder: tempfile::TempDir,
}

impl Started {
    /// Starts QEMU by a command that is made of the first root's file and of the file for the console, both in this folder.
    pub(crate) fn of(
        folder: tempfile::TempDir,
        content: &[u8],
        command: impl FnOnce(&Path, &Path) -> Command,
    ) -> Result<Self, BootError> {
        let (first_root, console, said) =
            (folder.path().join("initramfs"), folder.path().join("console"), folder.path().join("said"));
        fs::write(&first_root, content).map_err(BootError::io(&first_root))?;
        let errors = File::create(&said).map_err(BootError::io(&said))?;
        let mut command = command(&first_root, &console);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => BootError::Missing(format!("no {QEMU}: install qemu-system-x86")),
            _ => BootError::Io { path: QEMU.into(), why },
        })?;
        Ok(Self { running: Running(child), folder })
    }

    /// What the guest has said so far.
    #[must_use]
    pub fn console(&self) -> Console {
        Console::new(&beginning(&self.folder.path().join("console")))
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When QEMU fails, or the guest is still there after `limit`; it is killed then.
    pub fn wait(mut self, limit: Duration) -> Result<Console, BootError> {
        let status = self.running.wait(limit);
        let console = self.console();
        match status.map_err(BootError::io(QEMU))? {
            None => Err(BootError::Hung { limit, console }),
            Some(status) if !status.success() => {
                let said = String::from_utf8_lossy(&beginning(&self.folder.path().join("said"))).into_owned();
                Err(BootError::Failed { status, said, console })
            }
            Some(_) => Ok(console),
        }
    }

    /// How much of the host's time its processors took, in ticks: that of all threads but the first, which has the clocks and devices (`proc_pid_stat(5)`).
    pub(crate) fn work_of_processors(&self) -> Option<u64> {
        let first = self.running.0.id().to_string();
        let threads = fs::read_dir(format!("/proc/{first}/task")).ok()?;
        let others = threads.flatten().filter(|thread| thread.file_name().to_string_lossy() != first);
        Some(others.filter_map(|thread| ticks(&fs::read_to_string(thread.path().join("stat")).ok()?)).sum())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&mut self) -> Result<bool, BootError> {
        Ok(self.running.0.try_wait().map_err(BootError::io(QEMU))?.is_some())
    }
}

/// Time of a thread as user and in the kernel: the 14th and 15th field, of which the second may have spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<u64> = fields.split(' ').skip(12).take(2).map_while(|field| field.parse().ok()).collect();
    (times.len() == 2).then(|| times.iter().sum())
}

/// A process that does not outlive its owner.
#[derive(Debug)]
struct Running(Child);

impl Running {
    /// How it ended; nothing when it did not in time.
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no runtime here, and std has no wait with a limit"
    )]
    fn wait(&mut self, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if started.elapsed() > limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either may say that it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_is_read_whatever_its_name_is() {
        let stat = "7 (CPU 0/TCG) 9) R 1 7 7 0 -1 4194304 9 0 0 0 40 2 0 0 20 0 3 0 12 4096 1 18446744073709551615\n";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (qemu) R 1"), None);
        assert!(ticks(&fs::read_to_string("/proc/thread-self/stat").unwrap()).is_some());
    }
}
