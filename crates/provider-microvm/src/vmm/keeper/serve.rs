//! A keeper's life.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::process::{getpid, setsid, umask};

use super::init::{self, Ahead};
use super::launch::{Answer, CONFIRM, Launch, Request};
use super::log::Log;
use super::output::Output;
use super::start::{Started, UserTaken, start};
use crate::vmm::accelerator;
use crate::vmm::cgroup::Cgroup;
use crate::vmm::error::room;
use crate::vmm::exit::Said;
use crate::vmm::folder::Owner;
use crate::vmm::identity::{self, Identity, ProcessId};
use crate::vmm::jail::JailSpec;
use crate::vmm::{CgroupSpec, Exit, RunFolder};

/// As much as is copied of one stream before the others are looked at.
const TURN: usize = 256 * 1024;
/// As much as is still copied after the monitor's end: more than a pipe holds (pipe(7)).
const REST: usize = 4 << 20;
/// Until it is asked again whether another keeper has ended.
const ENDING: Duration = Duration::from_millis(5);

/// Why a launch was undone.
struct Failure {
    why: String,
    busy: bool,
    user_taken: bool,
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        let user_taken = why.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<UserTaken>);
        Self { why: format!("{why}{}", room(&why)), busy: false, user_taken }
    }
}

/// A VM and what has to be undone.
struct Kept {
    launch: Launch,
    folder: RunFolder,
    cgroup: Option<Cgroup>,
    log: Log,
    started: Started,
    keeper: ProcessId,
    /// Until it is decided whether there is a VM.
    launching: Option<File>,
    /// As long as this process lives.
    _lock: File,
}

pub(super) fn run() -> Result<(), ()> {
    // A keeper that leads a process group already, started by hand, stays in it.
    let _ = setsid();
    for signal in [1, 2, 15] {
        // A handler that only notes the signal: unlike an ignored signal it is not inherited by the monitor.
        drop(signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))));
    }
    umask(Mode::from_raw_mode(0o077));
    drop(std::env::set_current_dir("/"));
    // Of the processes of a host without memory, the keeper is the wrong one to kill. Only root may say so.
    drop(std::fs::write("/proc/self/oom_score_adj", "-999"));
    let kept = match Request::read() {
        Ok(Request::Ahead { .. }) => match (Ahead::spawn(), Request::read()) {
            (init, Ok(Request::Launch(request))) => launch(*request, init),
            (_, Ok(_)) => Err(Failure::from(io::Error::other("there is nothing to launch"))),
            (_, Err(why)) => Err(Failure::from(why)),
        },
        Ok(Request::Launch(request)) => launch(*request, Ahead::none()),
        Ok(Request::Init(request)) => {
            init::run(&request);
            return Ok(());
        }
        Ok(Request::Probe { .. }) => {
            answer(&Answer::Probed { trouble: accelerator::run().err() });
            return Ok(());
        }
        Err(why) => Err(Failure::from(why)),
    };
    match kept {
        Ok(kept) => kept.keep(),
        Err(Failure { why, busy, user_taken }) => {
            answer(&Answer::Failed { why, busy, user_taken });
            Err(())
        }
    }
}

/// Says something to the service, if it is still there.
fn answer(answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    let mut output = io::stdout().lock();
    drop(output.write_all(&line).and_then(|()| output.flush()));
}

/// The lock of a folder; nothing when a VM runs there.
///
/// A start that was given up is waited for, because its service does not: its keeper may come to the lock only now, and then sees that nobody listens.
fn alone(folder: &RunFolder) -> io::Result<Option<File>> {
    let lock = folder.keeper_lock()?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::Error(why)) => return Err(why),
            Err(TryLockError::WouldBlock) => {}
        }
        let launching = folder.launch_lock()?;
        launching.lock_shared()?;
        // One that is not understood is one all the same.
        if !matches!(folder.identity(), Ok(None)) {
            return Ok(None);
        }
        drop(launching);
        // Whoever had it is on his way out, or has not yet taken the other lock.
        #[expect(clippy::disallowed_methods, reason = "a keeper has one thread, and no runtime")]
        std::thread::sleep(ENDING);
    }
}

fn launch(launch: Launch, init: Ahead) -> Result<Kept, Failure> {
    let folder = RunFolder::new(&launch.folder);
    let in_folder = |why: io::Error| {
        let why = format!("{}: {why}{}", launch.folder.display(), room(&why));
        Failure { why, busy: false, user_taken: false }
    };
    let Some(lock) = alone(&folder).map_err(in_folder)? else {
        return Err(Failure { why: "a VM is there already".into(), busy: true, user_taken: false });
    };
    let launching = folder.launch_lock().map_err(in_folder)?;
    launching.lock().map_err(in_folder)?;
    // Whoever had the lock before is gone, and his VM on its way.
    end_last(&folder)?;
    folder.remove_live().and_then(|()| folder.remove_exit()).map_err(in_folder)?;
    let keeper = ProcessId::of(getpid().as_raw_nonzero().get())?;
    let mut owner = Owner {
        boot_id: identity::boot_id()?,
        keeper,
        vmm: None,
        cgroup: launch.cgroup.as_ref().map(|spec| (spec.parent.clone(), spec.name.clone())),
    };
    RunFolder::write_owner(&lock, &owner).map_err(in_folder)?;
    let log = Log::open(launch.console.clone())?;
    let cgroup = launch.cgroup.as_ref().map(|spec| Cgroup::find(&spec.parent, &spec.name)).transpose()?;
    let known = |vmm| {
        owner.vmm = Some(vmm);
        // What is in it already names the keeper, with whom the VM ends.
        drop(RunFolder::write_owner(&lock, &owner));
    };
    let started = start(&launch, &folder, cgroup.as_ref(), init, known);
    let started = started.inspect_err(|_| undo(&folder, cgroup.as_ref()))?;
    Ok(Kept { launch, folder, cgroup, log, started, keeper, launching: Some(launching), _lock: lock })
}

/// Waits for the VM of a keeper that was killed: the kernel kills it, but not at once.
fn end_last(folder: &RunFolder) -> io::Result<()> {
    let Some(owner) = folder.owner().ok().flatten() else { return Ok(()) };
    if owner.boot_id != identity::boot_id()? {
        return Ok(());
    }
    let Some(vmm) = owner.vmm.map(ProcessId::open).transpose()?.flatten() else { return Ok(()) };
    identity::kill(&vmm)?;
    // One that does not end keeps the folder: the service has a limit for that.
    while let Err(why) = poll(&mut [PollFd::new(&vmm, PollFlags::IN)], None) {
        if why != rustix::io::Errno::INTR {
            return Err(why.into());
        }
    }
    Ok(())
}

/// Removes what a VM has that runs no longer. What cannot be removed is left to [`crate::vmm::Monitor::clear`].
fn undo(folder: &RunFolder, cgroup: Option<&Cgroup>) {
    if let Some(cgroup) = cgroup {
        drop(cgroup.remove());
        cgroup.leave_keepers();
    }
    drop(folder.remove_live());
}

impl Kept {
    fn keep(mut self) -> Result<(), ()> {
        answer(&Answer::Started { keeper: self.keeper, vmm: self.started.vmm });
        let watched = self.watch();
        let (mut console, mut messages) = match watched {
            Ok(outputs) => outputs,
            Err(why) => {
                self.started.end();
                undo(&self.folder, self.cgroup.as_ref());
                answer(&Answer::Failed { why: why.to_string(), busy: false, user_taken: false });
                return Err(());
            }
        };
        console.copy(&mut self.log, REST);
        messages.copy(&mut self.log, REST);
        let memory = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        let said = Said { last_words: messages.last_lines(), panic: console.panic() };
        let exit =
            self.started.wait().map_or_else(|_| Exit::unknown(), |status| Exit::of(status, memory, said));
        let was = self.launching.is_none();
        let written = !was || self.folder.write_exit(&exit).is_ok();
        undo(&self.folder, self.cgroup.as_ref());
        if !written {
            // On a disk that was full there may be room now.
            drop(self.folder.write_exit(&exit));
        }
        if self.launching.is_some() {
            answer(&Answer::Ended { exit });
        }
        Ok(())
    }

    /// Copies until the monitor has ended; the child is not waited for yet.
    fn watch(&mut self) -> io::Result<(Output, Output)> {
        let missing = || io::Error::other("no pipe");
        let mut console = Output::new(self.started.child.stdout.take().ok_or_else(missing)?)?;
        let mut messages = Output::new(self.started.child.stderr.take().ok_or_else(missing)?)?;
        let pidfd = self.started.vmm.open()?;
        let Some(pidfd) = pidfd else { return Ok((console, messages)) };
        let mut said = Vec::new();
        let mut listening = true;
        loop {
            let stdin = io::stdin();
            let mut set = vec![PollFd::new(&pidfd, PollFlags::IN)];
            if listening {
                set.push(PollFd::new(&stdin, PollFlags::IN));
            }
            let outputs = [console.to_poll(), messages.to_poll()];
            set.extend(outputs.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
            match poll(&mut set, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(why) => return Err(why.into()),
            }
            let ended = !set[0].revents().is_empty();
            let spoken = listening && !set[1].revents().is_empty();
            drop(set);
            console.copy(&mut self.log, TURN);
            messages.copy(&mut self.log, TURN);
            if ended {
                return Ok((console, messages));
            }
            if spoken {
                listening = self.hear(&mut said, &pidfd)?;
            }
        }
    }

    /// Reads what the service says; false when there is nothing more to hear.
    fn hear(&mut self, said: &mut Vec<u8>, pidfd: &std::os::fd::OwnedFd) -> io::Result<bool> {
        let mut bytes = [0; 64];
        let count = match io::stdin().lock().read(&mut bytes) {
            Ok(count) => count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(_) => 0,
        };
        said.extend_from_slice(&bytes[..count]);
        if said.starts_with(CONFIRM) {
            self.confirmed()?;
            return Ok(false);
        }
        if count == 0 || !CONFIRM.starts_with(said) {
            // The service is gone or has given up: there will be no VM.
            identity::kill(pidfd)?;
            return Ok(false);
        }
        Ok(true)
    }

    fn confirmed(&mut self) -> io::Result<()> {
        self.folder.write_identity(&Identity {
            schema: identity::SCHEMA,
            seat: self.launch.seat.clone(),
            monitor: self.launch.monitor,
            boot_id: identity::boot_id()?,
            vmm: self.started.vmm,
            keeper: self.keeper,
            user: self.launch.user,
            cgroup: self.launch.cgroup.as_ref().map(|spec| (spec.parent.clone(), spec.name.clone())),
            memory_mib: self.launch.cgroup.as_ref().map(CgroupSpec::memory_mib),
            jail: self.launch.jail.as_ref().map(JailSpec::place),
        })?;
        self.launching = None;
        answer(&Answer::Confirmed {});
        // From here on nobody listens: what is still said goes nowhere instead of into a broken pipe.
        let nowhere = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nowhere)?;
        rustix::stdio::dup2_stdout(&nowhere)?;
        rustix::stdio::dup2_stderr(&nowhere)?;
        Ok(())
    }
}
