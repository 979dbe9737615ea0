//! The agent as `init=` of an image's own disk.

use rootfs::Init;
use rootfs::build::Options;
use vm_testbed::{Console, Disk, Initramfs, Kernel, Machine};

use super::guest::LIMIT;
use super::image::Image;

/// What the first root does: Debian's kernel has its drivers as modules, so somebody must load them before the root is there.
const SWITCH: &str =
    "mount -t ext4 -o $(sed -n 's/.*rootmode=\\([a-z]*\\).*/\\1/p' /proc/cmdline) /dev/vda /mnt
umount /dev /sys /proc
";

fn boot(image: Image, writable: bool) -> Console {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root");
    let init = Init::open(&vm_testbed::agent().unwrap()).unwrap();
    image.build(&file, &Options { init: Some(init), ..Options::default() });
    let kernel = Kernel::find().unwrap();
    let modules = ["crc32c_generic", "virtio_mmio", "virtio_blk", "ext4", "overlay"];
    let initramfs = Initramfs::handing_over(&kernel, &modules, SWITCH, "/.clarateach/init").unwrap();
    let mode = if writable { "rw" } else { "ro" };
    let machine = Machine::new(kernel).disk(Disk { file, writable }).argument(&format!("rootmode={mode}"));
    machine.run(initramfs, LIMIT).unwrap_or_else(|why| panic!("{why}"))
}

fn image(script: &str) -> Image {
    let mut image = Image::busybox();
    image.run.user = "learner".into();
    image.runs(script)
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn an_image_boots_by_itself() {
    if !super::can_run() {
        return;
    }
    for writable in [true, false] {
        let script = "echo said: $(id -un) $MICROVM_MODE $HOME $((6 * 7)); touch /home/learner/x && echo said: wrote; exit 3";
        let console = tokio::task::spawn_blocking(move || boot(image(script), writable)).await.unwrap();
        let said: Vec<_> = console.after("said: ").collect();
        assert_eq!(said, ["learner true /home/learner 42", "wrote"], "{}", console.tail());
        let last = console.after("clarateach-agent: ").last();
        assert_eq!(last, Some("the workspace exits with code 3"), "{}", console.tail());
    }
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn one_that_cannot_run_says_why_and_ends() {
    if !super::can_run() {
        return;
    }
    let mut image = Image::busybox();
    image.run.entrypoint = vec!["/opt/server".into()];
    let console = tokio::task::spawn_blocking(|| boot(image, false)).await.unwrap();
    let said: Vec<_> = console.after("clarateach-agent: ").collect();
    assert_eq!(said, ["this image: the program /opt/server is not in the image"], "{}", console.tail());
}
