//! Which process a VM is.
//!
//! A number alone names no process: it is used again. A number with the time at which the process began, counted from the start of the
//! host, and the identity of that start, does (`proc_pid_stat(5)`, field 22; `/proc/sys/kernel/random/boot_id`, random(4)). A pidfd is opened
//! first and the times are compared afterwards: whatever happens in between, a pidfd that passes is the process that was meant.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{MonitorKind, RunFolder, UserIds};

/// One process of this host, during one run of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it began, in ticks since the host started.
    pub start_time: u64,
}

/// One VM: what has to be known to find it again. It is in the VM's folder as `vmm.json` from when the VM is complete to when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The number of this layout.
    pub schema: u32,
    /// Whose it is, as errors name it.
    pub seat: String,
    /// What runs it.
    pub monitor: MonitorKind,
    /// The run of the host.
    pub boot_id: String,
    /// The monitor; of one that is jailed the first process of its namespace, without which there is none in it.
    pub vmm: ProcessId,
    /// Its keeper.
    pub keeper: ProcessId,
    /// The user it runs as.
    pub user: Option<UserIds>,
    /// Its cgroup: parent and name.
    pub cgroup: Option<(String, String)>,
    /// What it may take of the host's memory, in MiB, its monitor included; nothing when it has no cgroup, or was started before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// The folder that a jailed monitor has for its `/`, below the VM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<PathBuf>,
}

impl Identity {
    /// Where a monitor has its sockets that makes them itself; `folder` is the VM's.
    pub(super) fn sockets(&self, folder: &RunFolder) -> PathBuf {
        self.jail.as_ref().map_or_else(|| folder.vmm(), |jail| folder.path().join(jail))
    }
}

/// The only layout of [`Identity`] so far.
pub(super) const SCHEMA: u32 = 1;

/// The run of the host.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

impl ProcessId {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
        let start_time =
            start_time(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat is not understood"))?;
        Ok(Self { pid, start_time })
    }

    /// A descriptor of exactly this process; nothing when it is gone.
    pub(super) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(why) => return Err(why.into()),
        };
        match Self::of(self.pid) {
            Ok(now) if now == self && !ended(&descriptor)? => Ok(Some(descriptor)),
            Ok(_) => Ok(None),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            // Gone between the opening and the reading of its file.
            Err(why) if why.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            Err(why) => Err(why),
        }
    }
}

/// Whether a process has ended, be it waited for or not (`pidfd_open(2)`: it can be read then).
pub(super) fn ended(pidfd: &OwnedFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut set = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(poll(&mut set, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

/// Kills a process; one that is gone already is no error.
pub(super) fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// Field 22 of `/proc/PID/stat`. Field 2 is the program's name in parentheses and may hold anything, parentheses too.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let tail = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0";
        assert_eq!(start_time(&format!("7 (cat) {tail}")), Some(98765));
        assert_eq!(start_time(&format!("7 (a) R 1 (b)) {tail}")), Some(98765));
        assert_eq!(start_time("7 (cat) S 1"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn a_process_is_not_another_with_its_number() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let me = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        let other = ProcessId { start_time: me.start_time + 1, ..me };
        assert!(other.open().unwrap().is_none());
        let pidfd = me.open().unwrap().expect("it lives");
        assert!(!ended(&pidfd).unwrap());
        kill(&pidfd).unwrap();
        // A process that has ended and is not waited for still has its number, and is gone all the same.
        rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], None)
            .unwrap();
        assert!(me.open().unwrap().is_none());
        child.wait().unwrap();
        assert!(me.open().unwrap().is_none());
        assert!(ProcessId { pid: 0, start_time: 0 }.open().unwrap().is_none());
        kill(&pidfd).unwrap();
    }
}
