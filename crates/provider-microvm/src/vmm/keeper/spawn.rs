//! Starts the monitor.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::process::{
    Resource, Rlimit, Signal, fchdir, getpid, getppid, set_parent_process_death_signal, setrlimit, umask,
};
use rustix::thread::{Gid, Uid, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid};

use super::{Argument, Launch};

/// Open files that a monitor may have: those it is given, its own, and clients of its sockets. A much higher number makes Firecracker slow to answer, since
/// it goes through all that there may be.
pub(in crate::vmm) const OPEN_FILES: u32 = 1024;

/// Starts the monitor, or the jailer that becomes it, with these descriptors open, in the cgroup that the doors lead to, and in a folder. What it says goes to
/// new pipes, or where the caller's own words go.
pub(super) fn spawn(
    launch: &Launch,
    open: Vec<OwnedFd>,
    doors: Vec<OwnedFd>,
    folder: Option<OwnedFd>,
    output: fn() -> Stdio,
) -> io::Result<Child> {
    let mut command = Command::new(&launch.program);
    for argument in &launch.arguments {
        match argument {
            Argument::Plain(text) => command.arg(text),
            Argument::Descriptor(before, number, behind) => {
                let descriptor = open.get(*number).ok_or_else(|| io::Error::other("no such descriptor"))?;
                command.arg(format!("{before}{}{behind}", descriptor.as_raw_fd()))
            }
        };
    }
    command.env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(output()).stderr(output());
    let parent = getpid();
    // The jailer changes the user itself, once it has no need of root any more.
    let user = launch.user.filter(|_| launch.jail.is_none());
    let ids = user.map(|user| (Uid::from_raw(user.uid), Gid::from_raw(user.gid)));
    let groups: Vec<_> = launch.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let prepare = move || {
        for door in &doors {
            rustix::io::write(door, b"0")?;
        }
        // The keeper may be protected from the kernel's choice of whom to kill for memory; the monitor is not. No program that the kernel gives cores to,
        // whatever their limit is, finds a guest's memory in one (core(5)).
        for file in ["/proc/self/oom_score_adj", "/proc/self/coredump_filter"] {
            if let Ok(file) = rustix::fs::open(file, rustix::fs::OFlags::WRONLY, Mode::empty()) {
                rustix::io::write(&file, b"0")?;
            }
        }
        let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Core, limit(0))?;
        setrlimit(Resource::Nofile, limit(OPEN_FILES.into()))?;
        umask(Mode::from_raw_mode(0o077));
        if let Some(folder) = &folder {
            fchdir(folder)?;
        }
        if let Some((uid, gid)) = ids {
            // This process has one thread, so what holds for the thread holds for all of it.
            set_thread_groups(&groups)?;
            set_thread_gid(gid)?;
            set_thread_uid(uid)?;
        }
        set_no_new_privs(true)?;
        // After the change of user, which takes it away.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            return Err(io::Error::other("the keeper is gone"));
        }
        for descriptor in &open {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "there is no other way to run something between fork and exec")]
    // SAFETY: the closure calls nothing but system calls, allocates only for an error, and the process that forks has one thread.
    unsafe {
        command.pre_exec(prepare)
    };
    let name = launch.program.display();
    command.spawn().map_err(|why| io::Error::new(why.kind(), format!("{name}: {why}")))
}
