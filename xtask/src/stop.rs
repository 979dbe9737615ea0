//! Ctrl-C and SIGTERM.
//!
//! Children get a process group of their own, so a terminal's Ctrl-C reaches this program alone, and it decides in
//! which order things end.

use std::fmt;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether somebody wants this program to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<Option<&'static str>>);

impl Stop {
    /// Listens from now on; the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hangup.recv() => "SIGHUP",
                };
                sender.send_replace(Some(name));
            }
        });
        Ok(Self(receiver))
    }

    /// Waits until the end is wanted, and says by what; returns at once when it already is.
    pub(crate) async fn wanted(&self) -> Interrupted {
        match self.0.clone().wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => Interrupted(name),
            // The sender lives in a task that never ends, unless nobody can ask.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Lets work go on, unless the end is wanted first.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            interrupted = self.wanted() => Err(interrupted.into()),
            done = work => done,
        }
    }

    /// A stop that nobody can ask for, for work that has to be finished.
    pub(crate) fn never() -> Self {
        Self(watch::channel(None).1)
    }
}

/// The work was given up because the end is wanted.
#[derive(Debug)]
pub(crate) struct Interrupted(&'static str);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.0)
    }
}

impl std::error::Error for Interrupted {}
