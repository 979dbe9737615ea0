//! QEMU's machine protocol, QMP: what is needed of it, typed (docs/interop/qmp-spec.rst of QEMU).
//!
//! ```text
//!   QEMU ── {"QMP": {"version": …}} ────────────────────►  greeting, at once after connecting
//!        ◄─ {"execute": "qmp_capabilities", "id": 0} ────
//!        ── {"return": {}, "id": 0} ────────────────────►  and from here on, in any order:
//!        ◄─ {"execute": …, "id": n} ─────────────────────
//!        ── {"return": …, "id": n} or {"error": …} ─────►
//!        ── {"event": …, "timestamp": …} ───────────────►  at any time
//! ```
//!
//! A line is one object. One task reads; answers go to whoever waits for their number, events to everybody. A line that is no such object, or longer
//! than a mebibyte, ends the connection: the process at the other end belongs to a guest that may have taken it over.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as AsyncMutex, broadcast, oneshot};
use tokio::time::timeout;

use super::Version;
use crate::vmm::Throttle;

mod hand_over;
mod message;
mod state;

use message::{Command, Greeting, Message};
pub use message::{Event, Migration, RunState};

/// The longest line, in bytes.
const LONGEST: u64 = 1 << 20;
/// Events that are kept for one who is slow to look at them.
const EVENTS: usize = 64;

/// Why QEMU did not do what it was told over QMP.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket is not there, or nobody listens.
    #[error("QEMU's control socket cannot be reached: {0}")]
    Unreachable(String),
    /// The other end is gone.
    #[error("QEMU closed its control socket")]
    Closed,
    /// The other end does not speak QMP.
    #[error("QEMU's control socket said what is not understood: {0}")]
    Garbage(String),
    /// QEMU says no.
    #[error("QEMU refuses {command}: {why}")]
    Refused {
        /// What it was to do.
        command: &'static str,
        /// Its words.
        why: String,
    },
    /// What QEMU writes of a machine, or reads, cannot be passed on.
    #[error("the machine's state cannot be passed on: {0}")]
    State(String),
    /// No answer.
    #[error("QEMU did not answer {command} within {} s", .limit.as_secs())]
    Silent {
        /// What it was to do.
        command: &'static str,
        /// How long was waited.
        limit: Duration,
    },
}

type Waiting = Arc<Mutex<State>>;

/// Who waits for an answer, and why there will be none any more.
#[derive(Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
    ended: Option<QmpError>,
}

/// A connection. QEMU has one at a time: a second one waits for the first to end.
#[derive(Debug)]
pub struct Qmp {
    version: Version,
    writer: AsyncMutex<OwnedWriteHalf>,
    waiting: Waiting,
    numbers: AtomicU64,
    events: broadcast::WeakSender<Event>,
    reader: tokio::task::AbortHandle,
    limit: Duration,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("waiting", &self.waiting.len()).field("ended", &self.ended).finish()
    }
}

impl Qmp {
    /// Waits for the greeting and leaves the mode in which nothing but that is possible. Each step, and each command later, may take `limit`.
    ///
    /// # Errors
    /// When the other end is silent, gone or no QEMU.
    pub async fn begin(stream: UnixStream, limit: Duration) -> Result<Self, QmpError> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let silent = |_| QmpError::Silent { command: "with its greeting", limit };
        let greeting = timeout(limit, line(&mut reader)).await.map_err(silent)??;
        let Greeting { qmp } = serde_json::from_slice(&greeting).map_err(|why| garbage(&greeting, &why))?;
        let (events, _) = broadcast::channel(EVENTS);
        let waiting = Waiting::default();
        // Only the task that reads holds the sender: its end is the end of the events.
        let weak = events.downgrade();
        let task = tokio::spawn(read(reader, Arc::clone(&waiting), events));
        let this = Self {
            version: qmp.version.qemu,
            writer: AsyncMutex::new(writer),
            waiting,
            numbers: AtomicU64::new(0),
            events: weak,
            reader: task.abort_handle(),
            limit,
        };
        this.run(Command::QmpCapabilities).await?;
        Ok(this)
    }

    /// Which QEMU it is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Events from now on, to the end of the connection.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Whether nothing more will be answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        lock(&self.waiting).ended.is_some()
    }

    /// What the machine does.
    ///
    /// # Errors
    /// As all commands.
    pub async fn query_status(&self) -> Result<RunState, QmpError> {
        let value = self.run(Command::QueryStatus).await?;
        serde_json::from_value(value.get("status").cloned().unwrap_or_default())
            .map_err(|why| QmpError::Garbage(why.to_string()))
    }

    /// Whether the machine's end of a character device is open: of a port's, the guest's program.
    ///
    /// # Errors
    /// As all commands.
    pub async fn is_open(&self, device: &str) -> Result<bool, QmpError> {
        let devices = self.run(Command::QueryChardev).await?;
        let is_it = |one: &&Value| one.get("label").and_then(Value::as_str) == Some(device);
        let one = devices.as_array().and_then(|all| all.iter().find(is_it));
        Ok(one.and_then(|one| one.get("frontend-open")).and_then(Value::as_bool).unwrap_or_default())
    }

    /// Stops the processors.
    ///
    /// # Errors
    /// As all commands.
    pub async fn stop(&self) -> Result<(), QmpError> {
        self.run(Command::Stop).await.map(drop)
    }

    /// Lets the processors run; returns when QEMU says that they do.
    ///
    /// # Errors
    /// As all commands.
    pub async fn cont(&self) -> Result<(), QmpError> {
        if self.query_status().await? == RunState::Running {
            return Ok(());
        }
        let mut events = self.events();
        self.run(Command::Cont).await?;
        let resumed = async {
            loop {
                match events.recv().await {
                    Ok(Event::Resume) => return Ok(()),
                    Ok(_) => {}
                    // Those that were missed may have had it.
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        if self.query_status().await? == RunState::Running {
                            return Ok(());
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(self.why_over()),
                }
            }
        };
        let silent = |_| QmpError::Silent { command: "cont with RESUME", limit: self.limit };
        timeout(self.limit, resumed).await.map_err(silent)?
    }

    /// Presses the power button. Whether the guest does anything is its own affair.
    ///
    /// # Errors
    /// As all commands.
    pub async fn system_powerdown(&self) -> Result<(), QmpError> {
        self.run(Command::SystemPowerdown).await.map(drop)
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// As all commands. That the connection is closed first is none.
    pub async fn quit(&self) -> Result<(), QmpError> {
        match self.run(Command::Quit).await {
            Ok(_) | Err(QmpError::Closed) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Sets how fast a drive may be used, by the name of its device.
    ///
    /// # Errors
    /// As all commands.
    pub async fn set_throttle(&self, device: &str, throttle: Throttle) -> Result<(), QmpError> {
        self.run(Command::throttle(device, throttle)).await.map(drop)
    }

    fn why_over(&self) -> QmpError {
        lock(&self.waiting).ended.clone().unwrap_or(QmpError::Closed)
    }

    async fn run(&self, command: Command<'_>) -> Result<Value, QmpError> {
        self.run_with(command, None).await
    }

    /// Runs a command that a descriptor goes with.
    async fn run_with(
        &self,
        command: Command<'_>,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Value, QmpError> {
        let name = command.name();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut state = lock(&self.waiting);
            if let Some(why) = &state.ended {
                return Err(why.clone());
            }
            state.waiting.insert(number, sender);
        }
        // Whoever gives up waiting is forgotten.
        let _forget = Forget { waiting: &self.waiting, number };
        let mut bytes = serde_json::to_vec(&command.numbered(number))
            .map_err(|why| QmpError::Garbage(why.to_string()))?;
        bytes.push(b'\n');
        let told = async {
            // A write that is broken off would leave half a line: whoever has begun one finishes it, or the connection is over.
            let mut writer = self.writer.lock().await;
            let broken = BrokenOff { waiting: &self.waiting, done: false };
            let written = match descriptor {
                None => writer.write_all(&bytes).await,
                Some(descriptor) => hand_over::write_all(&mut writer, &bytes, descriptor).await,
            };
            broken.done();
            written.map_err(|_| QmpError::Closed)?;
            drop(writer);
            match answer.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(why)) => Err(QmpError::Refused { command: name, why }),
                Err(_) => Err(self.why_over()),
            }
        };
        let silent = |_| QmpError::Silent { command: name, limit: self.limit };
        timeout(self.limit, told).await.map_err(silent)?
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Forget<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).waiting.remove(&self.number);
    }
}

struct BrokenOff<'a> {
    waiting: &'a Waiting,
    done: bool,
}

impl BrokenOff<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for BrokenOff<'_> {
    fn drop(&mut self) {
        if !self.done {
            end(self.waiting, QmpError::Closed);
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, State> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(waiting: &Waiting, why: QmpError) {
    let mut state = lock(waiting);
    state.ended.get_or_insert(why);
    state.waiting.clear();
}

async fn read(mut reader: BufReader<OwnedReadHalf>, waiting: Waiting, events: broadcast::Sender<Event>) {
    let why = loop {
        let line = match line(&mut reader).await {
            Ok(line) => line,
            Err(why) => break why,
        };
        match serde_json::from_slice(&line) {
            Ok(Message::Event(event)) => {
                // Nobody has to listen.
                drop(events.send(event));
            }
            Ok(Message::Answer { id, result }) => {
                let waits = lock(&waiting).waiting.remove(&id);
                if let Some(waits) = waits {
                    // Or no longer waits.
                    drop(waits.send(result));
                }
            }
            Err(why) => break garbage(&line, &why),
        }
    };
    end(&waiting, why);
}

/// One line that is not empty.
async fn line(reader: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Vec<u8>, QmpError> {
    loop {
        let mut line = Vec::new();
        let read = reader.take(LONGEST).read_until(b'\n', &mut line).await;
        match read {
            Ok(0) => return Err(QmpError::Closed),
            Ok(_) if !line.ends_with(b"\n") => {
                let long = line.len() as u64 >= LONGEST;
                return Err(if long {
                    QmpError::Garbage("a line without end".into())
                } else {
                    QmpError::Closed
                });
            }
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => return Ok(line),
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset => return Err(QmpError::Closed),
            Err(why) => return Err(QmpError::Unreachable(why.to_string())),
        }
    }
}

fn garbage(line: &[u8], why: &serde_json::Error) -> QmpError {
    let said: String =
        String::from_utf8_lossy(line).chars().filter(|char| !char.is_control()).take(100).collect();
    QmpError::Garbage(format!("{said:?}: {why}"))
}

#[cfg(test)]
mod tests;
