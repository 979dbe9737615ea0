//! The end of the machine.
//!
//! A machine without a BIOS or ACPI's tables has one way out that all of them have: a reset, which its monitor takes for the end. QEMU's
//! `microvm` does with `reboot=t` and `-no-reboot`, Firecracker with `reboot=k`.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};

use guest_protocol::Signal;
use rustix::mount::MountFlags;
use rustix::system::RebootCommand;

use crate::console::say;

/// Ends whatever still runs, writes everything to the disks, leaves their file systems clean, and ends the machine.
pub(crate) fn off(written: &[OwnedFd]) {
    // All but this one (kill(2)); the first process of a machine may.
    let _ = crate::sys::kill(-1, Signal::KILL.number());
    rustix::fs::sync();
    for folder in written.iter().rev() {
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        if let Err(why) = rustix::mount::mount_remount(&path, MountFlags::RDONLY, "") {
            let of = fs::read_link(&path).unwrap_or_default();
            say(format_args!(
                "{} stays as it is, and is checked when it is mounted next: {why}",
                of.display()
            ));
        }
    }
    reset();
}

/// Ends the machine at once.
pub(crate) fn reset() {
    rustix::fs::sync();
    if let Err(why) = rustix::system::reboot(RebootCommand::Restart) {
        say(format_args!("the machine cannot be ended: {why}"));
    }
}
