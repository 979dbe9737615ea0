//! Starting a program.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use guest_protocol::Size;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Gid;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::environment::Environment;
use super::{Child, Reaper, User};
use crate::sys::{self, Become};

/// A program that can be started, as often as wanted.
pub(crate) struct Plan {
    pub(crate) file: PathBuf,
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Environment,
    pub(crate) folder: PathBuf,
    pub(crate) user: User,
    /// What of root's powers it keeps, as bits.
    pub(crate) capabilities: u64,
    /// The folder of its control group.
    pub(crate) cgroup: Option<PathBuf>,
}

/// What a program reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stdio {
    /// Nothing to read, two pipes to write.
    Outputs,
    /// Three pipes.
    Pipes,
    /// A terminal.
    Terminal(Size),
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) input: Input,
    pub(crate) out: Option<pipe::Receiver>,
    pub(crate) err: Option<pipe::Receiver>,
}

/// Our end of what it reads.
#[derive(Debug)]
pub(crate) enum Input {
    None,
    Pipe(pipe::Sender),
    Terminal(AsyncFd<OwnedFd>),
}

impl Plan {
    /// Starts it.
    pub(crate) fn start(&self, reaper: &Reaper, stdio: Stdio) -> io::Result<Launched> {
        let mut command = Command::new(&self.file);
        command.arg0(&self.argv[0]).args(&self.argv[1..]);
        command.env_clear().envs(self.environment.iter()).current_dir(&self.folder);
        let privileged = rustix::process::geteuid().is_root();
        let owner = privileged.then_some((self.user.uid, self.user.gid));
        let (mut input, mut out, mut err) = (Input::None, None, None);
        match stdio {
            Stdio::Outputs | Stdio::Pipes => {
                command.stdin(File::open("/dev/null")?);
                if let Stdio::Pipes = stdio {
                    let (read, write) = pipe_for(owner)?;
                    command.stdin(read);
                    input = Input::Pipe(pipe::Sender::from_owned_fd(nonblocking(write)?)?);
                }
                let (read, write) = pipe_for(owner)?;
                command.stdout(write);
                out = Some(pipe::Receiver::from_owned_fd(nonblocking(read)?)?);
                let (read, write) = pipe_for(owner)?;
                command.stderr(write);
                err = Some(pipe::Receiver::from_owned_fd(nonblocking(read)?)?);
            }
            Stdio::Terminal(size) => {
                let (ours, theirs) = terminal(size)?;
                if let Some((uid, _)) = owner {
                    rustix::fs::fchown(&theirs, Some(rustix::fs::Uid::from_raw(uid)), None)?;
                }
                command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
                input = Input::Terminal(sys::watched(
                    nonblocking(ours)?,
                    Interest::READABLE | Interest::WRITABLE,
                )?);
            }
        }
        let procs = |folder: &PathBuf| OpenOptions::new().write(true).open(folder.join("cgroup.procs"));
        let cgroup = self.cgroup.as_ref().map(procs).transpose()?;
        let become_ = Become {
            uid: self.user.uid,
            gid: self.user.gid,
            groups: self.user.groups.iter().copied().map(Gid::from_raw).collect(),
            capabilities: self.capabilities,
            cgroup: cgroup.map(OwnedFd::from),
            terminal: matches!(stdio, Stdio::Terminal(_)),
            privileged,
        };
        sys::prepare(&mut command, become_);
        // Dropping std's child neither ends nor reaps it: both are done by number.
        let child = reaper.start(|| command.spawn().map(|child| child.id()))?;
        Ok(Launched { child, input, out, err })
    }
}

/// A pipe of the program's user, who may open it anew as `/dev/stdout`.
fn pipe_for(owner: Option<(u32, u32)>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Some((uid, gid)) = owner {
        sys::give_pipe(write.as_fd(), uid, gid)?;
    }
    Ok((read, write))
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// A terminal's two ends.
fn terminal(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    resize(&ours, size)?;
    Ok((ours, theirs))
}

/// Gives a terminal another size; what runs on it is told by the kernel.
pub(crate) fn resize(terminal: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

impl std::fmt::Debug for Plan {
    /// Variables are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("file", &self.file).field("user", &self.user).finish_non_exhaustive()
    }
}
