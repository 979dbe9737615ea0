//! QEMU's smallest machine.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::console::MOST;
use crate::{BootError, Console, Initramfs, Kernel};

const QEMU: &str = "qemu-system-x86_64";
/// The serial line; `reboot=t` ends the machine by a triple fault, which is the one way that microvm has. Under TCG the clock's
/// calibration hangs, so its outcome is given.
const ARGUMENTS: &str = "console=ttyS0 reboot=t panic=-1 tsc_early_khz=2000000 lpj=4000000";

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
    disks: Vec<Disk>,
    arguments: String,
}

impl Machine {
    /// A machine with this kernel and 512 MiB.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, memory: 512, disks: Vec::new(), arguments: ARGUMENTS.into() }
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
        self.disks.push(disk);
        self
    }

    /// One more word of the kernel's command line.
    #[must_use]
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(' ');
        self.arguments.push_str(word);
        self
    }

    /// Runs it until it ends.
    ///
    /// # Errors
    /// When there is no QEMU, QEMU fails, or the guest is still there after `limit`; it is killed then.
    pub fn run(&self, initramfs: Initramfs, limit: Duration) -> Result<Console, BootError> {
        let folder = tempfile::tempdir().map_err(BootError::io(std::env::temp_dir()))?;
        let (first_root, console, said) =
            (folder.path().join("initramfs"), folder.path().join("console"), folder.path().join("said"));
        fs::write(&first_root, initramfs.finish()).map_err(BootError::io(&first_root))?;
        let errors = File::create(&said).map_err(BootError::io(&said))?;
        let mut command = self.command(&first_root, &console);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => BootError::Missing(format!("no {QEMU}: install qemu-system-x86")),
            _ => BootError::Io { path: QEMU.into(), why },
        })?;
        let status = Running(child).wait(limit);
        let text = Console::new(&beginning(&console));
        match status.map_err(BootError::io(QEMU))? {
            None => Err(BootError::Hung { limit, console: text }),
            Some(status) if !status.success() => {
                let said = String::from_utf8_lossy(&beginning(&said)).into_owned();
                Err(BootError::Failed { status, said, console: text })
            }
            Some(_) => Ok(text),
        }
    }

    fn command(&self, first_root: &Path, console: &Path) -> Command {
        let mut qemu = Command::new(QEMU);
        qemu.args(["-M", "microvm,pit=on,pic=on,rtc=on,acpi=on", "-accel", "tcg", "-cpu", "max"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-m", &self.memory.to_string(), "-append", &self.arguments]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(first_root);
        qemu.args([
            "-chardev",
            &format!("file,id=console,path={}", option(console)),
            "-serial",
            "chardev:console",
        ]);
        for (number, disk) in self.disks.iter().enumerate() {
            let read_only = if disk.writable { "off" } else { "on" };
            let file = option(&disk.file);
            qemu.args([
                "-drive",
                &format!("if=none,id=disk{number},format=raw,readonly={read_only},file={file}"),
            ]);
            qemu.args(["-device", &format!("virtio-blk-device,drive=disk{number}")]);
        }
        qemu
    }
}

/// A path as a value of one of QEMU's options, where a comma is written twice.
fn option(path: &Path) -> String {
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

/// A process that does not outlive its owner.
struct Running(Child);

impl Running {
    /// How it ended; nothing when it did not in time.
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no runtime here, and std has no wait with a limit"
    )]
    fn wait(mut self, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
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
