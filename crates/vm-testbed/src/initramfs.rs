//! The first root of a guest.

use std::fs;
use std::path::Path;

use guest_boot::cpio::Archive;

use crate::{BootError, Kernel};

/// The first root of a guest: a busybox, kernel modules, and files of the caller's. Its `/init` is the caller's script, run by
/// that busybox after the modules are loaded and `/proc`, `/sys` and `/dev` are there.
#[derive(Debug)]
pub struct Initramfs {
    archive: Archive,
}

impl Initramfs {
    /// One that loads these modules with all they need, and then runs the script. When the script ends, the guest does.
    ///
    /// # Errors
    /// When the kernel has no such module, or a file cannot be read.
    pub fn new(kernel: &Kernel, modules: &[&str], script: &str) -> Result<Self, BootError> {
        Self::ending(kernel, modules, script, END)
    }

    fn ending(kernel: &Kernel, modules: &[&str], script: &str, end: &str) -> Result<Self, BootError> {
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "proc", "sys", "mnt", "modules"] {
            archive.folder(folder)?;
        }
        // Before /dev is mounted there must be something to speak to.
        archive.device("dev/console", 5, 1)?;
        let read = |path: &Path| fs::read(path).map_err(BootError::io(path));
        archive.file("bin/busybox", 0o755, &read(kernel.busybox())?)?;
        let mut init = String::from(BEGIN);
        for (number, module) in kernel.modules(modules)?.iter().enumerate() {
            archive.file(&format!("modules/{number}.ko"), 0o644, &module.content)?;
            init.push_str(&format!(
                "insmod /modules/{number}.ko || echo 'guest: cannot load {}'\n",
                module.name
            ));
        }
        init.push_str("sh /script\n");
        init.push_str(end);
        archive.file("init", 0o755, init.as_bytes())?;
        archive.file("script", 0o755, script.as_bytes())?;
        Ok(Self { archive })
    }

    /// One that runs the script, and then hands its place as the first process to this program in the file system that the script
    /// mounted at `/mnt`.
    ///
    /// # Errors
    /// As [`Initramfs::new`].
    pub fn handing_over(
        kernel: &Kernel,
        modules: &[&str],
        script: &str,
        program: &str,
    ) -> Result<Self, BootError> {
        Self::ending(kernel, modules, script, &format!("exec switch_root /mnt {program}\n"))
    }

    /// One whose `/init` is the guest agent, which loads these modules with all they need by itself.
    ///
    /// # Errors
    /// When the kernel has no such module, or a file cannot be read.
    pub fn of_agent(kernel: &Kernel, modules: &[&str], agent: &Path) -> Result<Self, BootError> {
        let mut archive = Archive::default();
        for folder in ["dev", "modules"] {
            archive.folder(folder)?;
        }
        archive.device("dev/console", 5, 1)?;
        let read = |path: &Path| fs::read(path).map_err(BootError::io(path));
        archive.file("init", 0o755, &read(agent)?)?;
        for (number, module) in kernel.modules(modules)?.iter().enumerate() {
            archive.file(&format!("modules/{number:03}-{}.ko", module.name), 0o644, &module.content)?;
        }
        Ok(Self { archive })
    }

    /// Adds a file; its folder must be there already.
    ///
    /// # Errors
    /// When the path is none.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<&mut Self, BootError> {
        self.archive.file(path, mode, content)?;
        Ok(self)
    }

    /// The archive.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.archive.finish()
    }
}

const BEGIN: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# Only what the guest itself says is wanted from here on.
echo 1 >/proc/sys/kernel/printk
# A kernel that a busy host keeps waiting while it measures its timer goes on without any, and no sleep ends
# (`calibrate_APIC_clock()`, arch/x86/kernel/apic/apic.c). An orderly restart would wait for ever as well.
if dmesg | grep -qiE 'disabling apic timer|apic timer disabled'; then
  echo 'guest: no timer'
  echo b >/proc/sysrq-trigger
fi
";

/// `reboot=t` on the kernel command line makes this end QEMU, which runs with `-no-reboot`.
const END: &str = "sync
reboot -f
";
