//! A real kernel mounts the file and runs the image's own shell.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use vm_testbed::{BootError, Disk, Initramfs, Kernel, Machine};

use super::convert::Converted;
use super::listing::hex;
use super::{docker, skip};

/// Far more than an emulated processor needs on a busy machine: only what hangs gets there.
const LIMIT: Duration = Duration::from_secs(300);
const MODULES: [&str; 4] = ["crc32c_generic", "virtio_mmio", "virtio_blk", "ext4"];

/// The word comes on the kernel's command line; what the shell makes of it stands nowhere else.
const SCRIPT: &str = r#"word=$(sed -n 's/.*probe=\([0-9a-f]*\).*/\1/p' /proc/cmdline)
mount -t ext4 -o ro,noload /dev/vda /mnt || echo 'guest: cannot mount'
chroot /mnt /bin/sh -c 'echo "image: $1 $((6 * 7)) $(uname -s)"
[ ! -r /etc/os-release ] || while read -r line; do echo "release: $line"; done </etc/os-release' sh "$word"
"#;

/// The image's shell runs; `release` says whether the image has `/etc/os-release`, which it then reads.
pub(crate) fn boots(name: &str, release: bool) {
    let kernel = match Kernel::find() {
        Err(error @ BootError::Missing(_)) => return skip(name, "boots", &error.to_string()),
        found => found.unwrap(),
    };
    let initramfs = Initramfs::new(&kernel, &MODULES, SCRIPT).unwrap();
    let mut bytes = [0; 16];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    let word = hex(&bytes);
    let image = Converted::new(name);
    let disk = Disk { file: image.file(), writable: false };
    let machine = Machine::new(kernel).disk(disk).argument(&format!("probe={word}"));
    let console = match machine.run(initramfs, LIMIT) {
        Err(error @ BootError::Missing(_)) => return skip(name, "boots", &error.to_string()),
        outcome => outcome.unwrap_or_else(|error| panic!("{error}")),
    };
    let said: Vec<_> = console.after("image: ").collect();
    assert_eq!(said, [format!("{word} 42 Linux")], "{}", console.tail());
    let read: Vec<_> = console.after("release: ").map(str::trim).collect();
    let expected = if release {
        docker(&["run", "--rm", "--entrypoint", "cat", name, "/etc/os-release"])
    } else {
        String::new()
    };
    assert_eq!(read, expected.lines().map(str::trim).collect::<Vec<_>>(), "{}", console.tail());
}
