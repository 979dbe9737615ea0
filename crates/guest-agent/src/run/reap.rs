//! Children: those that somebody waits for, and the orphans that become pid 1's.
//!
//! A child is started and entered under one lock, and the dead are collected under the same, so that nobody's end is missed and no
//! number is signalled that may be somebody else's already.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_protocol::{Exit, Signal};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Who waits for which child.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper(Arc<Mutex<HashMap<i32, oneshot::Sender<Exit>>>>);

/// A child that somebody waits for.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    exit: oneshot::Receiver<Exit>,
}

impl Child {
    /// Waits until it has ended. Once it has said so, it may not be asked again.
    pub(crate) async fn exited(&mut self) -> Exit {
        // The sender goes away unused only when the agent itself ends.
        (&mut self.exit).await.unwrap_or(Exit::Signal(Signal::KILL))
    }
}

impl Reaper {
    /// Collects the dead from now on.
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut signals = signal(SignalKind::child())?;
        let reaper = self.clone();
        tokio::spawn(async move {
            loop {
                reaper.reap();
                if signals.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Starts a child.
    pub(crate) fn start(&self, start: impl FnOnce() -> io::Result<u32>) -> io::Result<Child> {
        let mut waiting = self.lock();
        let pid = start()?;
        let (sender, exit) = oneshot::channel();
        waiting.insert(pid.cast_signed(), sender);
        Ok(Child { pid, exit })
    }

    /// Sends a signal to a child, or to its group; whether it is still there.
    pub(crate) fn signal(&self, pid: u32, signal: Signal, group: bool) -> bool {
        let waiting = self.lock();
        waiting.contains_key(&pid.cast_signed()) && send(pid, signal, group).is_ok()
    }

    fn reap(&self) {
        let mut waiting = self.lock();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(sender) = waiting.remove(&pid.as_raw_pid()) {
                // Who waited may be gone.
                let _ = sender.send(exit(status));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<Exit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exit(status: WaitStatus) -> Exit {
    let by = status.terminating_signal().and_then(|number| Signal::from_number(number).ok());
    by.map_or_else(|| Exit::Code(status.exit_status().unwrap_or(-1)), Exit::Signal)
}

/// Sends a signal to whoever has this number now.
pub(crate) fn send(pid: u32, signal: Signal, group: bool) -> rustix::io::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).ok_or(rustix::io::Errno::SRCH)?;
    // All numbers from 1 to 64 are signals of Linux, real-time ones as well.
    let number = if group { -pid.as_raw_nonzero().get() } else { pid.as_raw_nonzero().get() };
    crate::sys::kill(number, signal.number())
}
