//! Writes the state of a machine to a file, and reads it from there: QEMU's migration, without another host.
//!
//! QEMU's user can open no file, so a pipe is handed over open (`fd:`), which all versions take; a file there is deprecated in newer ones. Memory in a file that others
//! can map stays where it is (`x-ignore-shared`, `qapi/migration.json`); what is left of a small machine is less than a mebibyte.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Command, Event, Migration, Qmp, QmpError};

impl Qmp {
    /// Writes the state of processors and devices. The machine has to stand, and can do nothing but to end afterwards.
    ///
    /// # Errors
    /// As all commands; [`QmpError::Refused`] with QEMU's words when it does not go on, [`QmpError::State`] when the file cannot be written.
    pub async fn write_state(&self, to: File) -> Result<(), QmpError> {
        let (mut from, handed) = io::pipe().map_err(|why| broken(&why))?;
        let copied = spawn_blocking(move || io::copy(&mut from, &mut &to));
        self.state(Command::write_state(), handed.into(), copied).await
    }

    /// Reads it, in a machine that waits for it, and stands afterwards. QEMU ends when it does not understand what it reads.
    ///
    /// # Errors
    /// As all commands; [`QmpError::State`] when the file cannot be read.
    pub async fn read_state(&self, from: File) -> Result<(), QmpError> {
        let (handed, mut to) = io::pipe().map_err(|why| broken(&why))?;
        let copied = spawn_blocking(move || io::copy(&mut &from, &mut to));
        self.state(Command::read_state(), handed.into(), copied).await
    }

    async fn state(
        &self,
        command: Command<'_>,
        handed: OwnedFd,
        copied: tokio::task::JoinHandle<io::Result<u64>>,
    ) -> Result<(), QmpError> {
        let name = command.name();
        let silent = |_| QmpError::Silent { command: name, limit: self.limit };
        let done = async {
            self.run(Command::memory_stays()).await?;
            self.run_with(Command::take_state(), Some(handed.as_fd())).await?;
            // QEMU's is the only one then, and closes with it.
            drop(handed);
            let mut events = self.events();
            self.run(command).await?;
            timeout(self.limit, self.over(name, &mut events)).await.map_err(silent)?
        };
        let done = done.await;
        let copied = match timeout(self.limit, copied).await {
            Ok(copied) => {
                let copied = copied.map_err(io::Error::other).and_then(|copied| copied);
                copied.map(drop).map_err(|why| broken(&why))
            }
            Err(elapsed) => Err(silent(elapsed)),
        };
        match (done, copied) {
            // QEMU only sees that the other end of its pipe is gone.
            (Err(QmpError::Refused { .. }), Err(why @ QmpError::State(_))) => Err(why),
            (done, copied) => done.and(copied),
        }
    }

    /// Waits until it is over.
    async fn over(
        &self,
        command: &'static str,
        events: &mut broadcast::Receiver<Event>,
    ) -> Result<(), QmpError> {
        loop {
            let state = match events.recv().await {
                Ok(Event::Migration(state)) => state,
                Ok(_) => continue,
                // Those that were missed may have had it.
                Err(RecvError::Lagged(_)) => {
                    let info = self.run(Command::QueryMigrate).await?;
                    Migration::of(info.get("status").and_then(Value::as_str).unwrap_or_default())
                }
                Err(RecvError::Closed) => return Err(self.why_over()),
            };
            match state {
                Migration::Completed => return Ok(()),
                Migration::Underway => {}
                Migration::Failed => {
                    let info = self.run(Command::QueryMigrate).await?;
                    let why = info.get("error-desc").and_then(Value::as_str).unwrap_or("it does not say why");
                    return Err(QmpError::Refused { command, why: why.to_owned() });
                }
            }
        }
    }
}

fn broken(why: &io::Error) -> QmpError {
    QmpError::State(why.to_string())
}
