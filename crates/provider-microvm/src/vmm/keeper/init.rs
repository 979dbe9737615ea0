//! The first process of a jailed VM's process namespace.
//!
//! ```text
//!   keeper ── unshares, starts ──► init (1 in there; root, with the keepers) ── starts ──► jailer, which becomes the monitor (2; the seat's user)
//!          ── Launch ───────────►
//!          ◄─ started ───────────
//!          ◄─ ended, how ─────────────────────────────────────────────────────── ends
//! ```
//!
//! Whoever changes the user of a process, as the jailer does, takes away that the kernel kills it when its parent dies (`PR_SET_PDEATHSIG`, prctl(2)).
//! But the kernel kills all processes of a namespace when its first one ends, and that one has not ended before all others have (`pid_namespaces(7)`). So
//! what holds for the monitor without a jail holds for this process: it dies with the keeper, and it is the VM for whoever kills, watches or finds it. A process
//! from outside can kill it, and none from inside.
//!
//! It may be there before its keeper knows what to launch, so it goes by itself to where the keeper is.
//!
//! It is the keeper's own program, started from the file that runs already: a new version in its place makes no difference.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::start::enter_network;
use super::{Launch, Request, spawn};
use crate::vmm::cgroup::Cgroup;

/// What it says to the keeper: one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The jailer has been started.
    Started {},
    /// It could not be.
    Failed { why: String },
    /// How it ended, or the monitor that it became, as the kernel says it (wait(2)).
    Ended { status: i32 },
}

/// The keeper's end of the conversation. When it is closed, the other one ends.
#[derive(Debug)]
pub(super) struct Init(BufReader<UnixStream>);

impl Init {
    /// Starts one. It waits for what it is to start.
    pub(super) fn spawn() -> io::Result<(Child, Self)> {
        let failed =
            |what: &'static str| move |why: io::Error| io::Error::new(why.kind(), format!("{what}: {why}"));
        let (ours, theirs) = UnixStream::pair()?;
        #[expect(
            unsafe_code,
            reason = "the safe function of that name is deprecated, for descriptors that may become another's"
        )]
        // SAFETY: it is the table of descriptors that must not be unshared, and this says nothing of it.
        let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWPID) };
        unshared.map_err(io::Error::from).map_err(failed("making a process namespace"))?;
        let mut own = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(own.next().unwrap_or_else(|| "keeper".into())).args(own).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(failed("starting the first process of the VM's namespace"))?;
        Ok((child, Self(BufReader::new(ours))))
    }

    /// Has it start the jailer.
    pub(super) fn launch(&mut self, launch: &Launch) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Request::Init(Box::new(launch.clone())))?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)?;
        match self.hear()? {
            Answer::Started {} => Ok(()),
            Answer::Failed { why } => Err(io::Error::other(why)),
            Answer::Ended { .. } => {
                Err(io::Error::other("the first process of the VM's namespace speaks otherwise"))
            }
        }
    }

    /// How the monitor ended, after this process; nothing when it was killed itself, and the monitor with it.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        match self.hear() {
            Ok(Answer::Ended { status }) => Some(ExitStatus::from_raw(status)),
            _ => None,
        }
    }

    fn hear(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// One that may be there already. One that is not used has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Ahead(Option<io::Result<(Child, Init)>>);

impl Ahead {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn spawn() -> Self {
        Self(Some(Init::spawn()))
    }

    /// The one that is there, or a new one.
    pub(super) fn take(mut self) -> io::Result<(Child, Init)> {
        self.0.take().unwrap_or_else(Init::spawn)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(Ok((mut child, init))) = self.0.take() {
            drop(init);
            drop(child.wait());
        }
    }
}

/// Is one, until the monitor has ended.
pub(super) fn run(launch: &Launch) {
    let started = start(launch);
    let mut child = match started {
        Ok(child) => child,
        Err(why) => return say(&Answer::Failed { why: why.to_string() }),
    };
    say(&Answer::Started {});
    // A monitor has no children of its own: its sandbox forbids it.
    if let Ok(status) = child.wait() {
        say(&Answer::Ended { status: status.into_raw() });
    }
}

fn start(launch: &Launch) -> io::Result<Child> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Whether there was still somebody to die then. What his number is cannot be told from in here.
    let stdin = io::stdin();
    let mut keeper = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut keeper, Some(&Timespec::default()))?;
    if !keeper[0].revents().is_empty() {
        return Err(io::Error::other("the keeper is gone"));
    }
    enter_network(launch)?;
    let doors = match &launch.cgroup {
        Some(spec) => {
            let cgroup = Cgroup::find(&spec.parent, &spec.name)?;
            cgroup.enter_keepers()?;
            cgroup.doors()?
        }
        None => Vec::new(),
    };
    spawn::spawn(launch, Vec::new(), doors, None, Stdio::inherit)
}

/// A keeper that is gone hears nothing, and takes this process along.
fn say(answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    // Both ways go through the one socket.
    let socket = io::stdin();
    let _ = rustix::io::write(socket.as_fd(), &line);
}
