//! The service's side of the conversation with a keeper.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::ahead::{Keepers, Waiting};
use super::launch::{Answer, CONFIRM, LONGEST, Launch, Request};
use crate::vmm::{Exit, ProcessId, VmmError, limits};

/// As much of a keeper's complaint as is told.
const COMPLAINT: u64 = 2000;

/// A keeper that waits to hear whether the VM is as it should be. Dropped, the VM is given up.
#[derive(Debug)]
pub(in crate::vmm) struct Launching {
    seat: String,
    folder: std::path::PathBuf,
    pub(in crate::vmm) limit: Duration,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(in crate::vmm) vmm: ProcessId,
    pub(in crate::vmm) keeper: ProcessId,
}

impl Launching {
    /// Has a keeper start a VM: one that waits for that, or a new one.
    pub(in crate::vmm) async fn start(
        keepers: &Keepers,
        launch: Launch,
        limit: Duration,
    ) -> Result<Self, VmmError> {
        let seat = launch.seat.clone();
        let failed = |why: String| VmmError::Launch { seat: seat.clone(), why };
        let folder = launch.folder.clone();
        let mut line =
            serde_json::to_vec(&Request::Launch(Box::new(launch))).map_err(|why| failed(why.to_string()))?;
        line.push(b'\n');
        let Waiting { child, input, output } = keepers.take().map_err(failed)?;
        let none = ProcessId { pid: 0, start_time: 0 };
        let mut this = Self {
            seat: seat.clone(),
            folder,
            limit,
            child,
            input,
            output: BufReader::new(output),
            vmm: none,
            keeper: none,
        };
        // A keeper that does not read, because it is none, has an answer all the same, or an end.
        drop(within(&seat, limit, "the keeper's reading", this.input.write_all(&line)).await?);
        match this.answer("the start of the VM's process").await? {
            Answer::Started { keeper, vmm } => Ok(Self { vmm, keeper, ..this }),
            other => {
                let why = this.unexpected(other);
                // It has undone all but itself.
                this.give_up().await;
                Err(why)
            }
        }
    }

    /// Lets the VM live on, whatever becomes of this process.
    pub(in crate::vmm) async fn confirm(&mut self) -> Result<(), VmmError> {
        // A broken pipe is told by the answer.
        drop(within(&self.seat, self.limit, "the keeper's reading", self.input.write_all(CONFIRM)).await?);
        match self.answer("the keeper's confirmation").await? {
            Answer::Confirmed {} => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    /// How the VM ended that was to be confirmed.
    pub(in crate::vmm) async fn ended(&mut self) -> VmmError {
        match self.answer("the end of the keeper").await {
            Ok(answer) => self.unexpected(answer),
            Err(why) => why,
        }
    }

    /// Gives the VM up and returns when nothing is left of it.
    pub(in crate::vmm) async fn give_up(self) {
        let Self { seat, mut child, input, output, .. } = self;
        drop((input, output));
        if timeout(limits::END, child.wait()).await.is_err() {
            tracing::warn!(seat, "a keeper does not end; it is killed, and its VM with it");
            drop(child.start_kill());
        }
    }

    async fn answer(&mut self, what: &'static str) -> Result<Answer, VmmError> {
        let mut line = String::new();
        let mut limited = (&mut self.output).take(LONGEST);
        let read = within(&self.seat, self.limit, what, limited.read_line(&mut line)).await?;
        let seat = self.seat.clone();
        match (read, serde_json::from_str(&line)) {
            (Ok(_), Ok(answer)) => Ok(answer),
            (Ok(0), _) => Err(VmmError::Launch { seat, why: self.silence().await }),
            (Ok(_), Err(why)) => {
                Err(VmmError::Launch { seat, why: format!("its keeper's answer is not understood: {why}") })
            }
            (Err(why), _) => {
                Err(VmmError::Launch { seat, why: format!("its keeper cannot be heard: {why}") })
            }
        }
    }

    /// What became of a keeper that says nothing more.
    async fn silence(&mut self) -> String {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            let mut limited = stderr.take(COMPLAINT);
            drop(timeout(Duration::from_secs(5), limited.read_to_end(&mut said)).await);
        }
        let how = match timeout(limits::END, self.child.wait()).await {
            Ok(Ok(status)) => format!("its keeper ended without an answer ({status})"),
            _ => "its keeper closed its output".to_owned(),
        };
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        if said.is_empty() { how } else { format!("{how}: {said}") }
    }

    fn unexpected(&self, answer: Answer) -> VmmError {
        let seat = self.seat.clone();
        match answer {
            Answer::Failed { busy: true, .. } => VmmError::Busy { seat, folder: self.folder.clone() },
            Answer::Failed { why, user_taken: true, .. } => VmmError::UserTaken { seat, why },
            Answer::Failed { why, .. } => VmmError::Launch { seat, why },
            Answer::Ended { exit } => VmmError::Ended { seat, exit: Box::new(exit) },
            Answer::Started { .. } | Answer::Confirmed {} | Answer::Probed { .. } => {
                let exit = Box::new(Exit::unknown());
                VmmError::Ended { seat, exit }
            }
        }
    }
}

async fn within<T>(
    seat: &str,
    limit: Duration,
    what: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, VmmError> {
    timeout(limit, future).await.map_err(|_| VmmError::Timeout { seat: seat.to_owned(), what, limit })
}
