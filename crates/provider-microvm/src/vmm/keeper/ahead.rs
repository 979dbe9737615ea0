//! Keepers that are there before it is known what they are to keep.
//!
//! A process takes some milliseconds until it listens, and a jailed VM has two of them before its monitor. A create spends as long on the seat's disks
//! and network; so it says first that it will need a keeper. Nobody waits for a keeper that nobody needs in the end: it ends as soon as its
//! input is closed, which is also when the service is killed.

use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::KeeperCommand;
use super::launch::{GENERATION, Request};
use crate::vmm::limits;

/// A keeper that has not heard yet what to do.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) child: Child,
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
}

impl Waiting {
    fn start(command: &KeeperCommand) -> Result<Self, String> {
        let mut keeper = Command::new(&command.program);
        // Nothing of the service's environment is for it: there may be secrets in it.
        keeper.args(&command.args).env_clear().current_dir("/");
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.program.display();
        let mut child =
            keeper.spawn().map_err(|why| format!("its keeper {program} cannot be started: {why}"))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { child, input, output }),
            _ => Err("its keeper has no pipes".into()),
        }
    }

    /// Whether it can still be asked for something.
    fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it end, and waits for that.
    async fn end(self) {
        let Self { mut child, input, output } = self;
        drop((input, output));
        if timeout(limits::END, child.wait()).await.is_err() {
            tracing::warn!("a keeper that nobody needs does not end; it is killed");
            drop(child.start_kill());
        }
    }
}

/// The keepers of one monitor.
#[derive(Clone, Debug)]
pub(in crate::vmm) struct Keepers {
    command: KeeperCommand,
    /// Whether a VM of theirs has a process namespace, whose first process can be there ahead, too.
    has_namespace: bool,
    ahead: Arc<Mutex<Ahead>>,
}

#[derive(Debug, Default)]
struct Ahead {
    /// How many are expected to be needed: as many may wait.
    expected: usize,
    waiting: Vec<Waiting>,
}

impl Ahead {
    /// One that waits for nobody.
    fn surplus(&mut self) -> Option<Waiting> {
        if self.waiting.len() > self.expected { self.waiting.pop() } else { None }
    }
}

impl Keepers {
    pub(in crate::vmm) fn new(command: KeeperCommand, has_namespace: bool) -> Self {
        Self { command, has_namespace, ahead: Arc::default() }
    }

    /// Starts one that will be needed in a moment. To be called in a runtime; does not wait.
    pub(in crate::vmm) fn expect(&self) -> Expected {
        self.ahead().expected += 1;
        let keepers = self.clone();
        let starting = tokio::spawn(async move {
            match keepers.start_ahead().await {
                Ok(waiting) => keepers.put(waiting).await,
                // Whoever needs it tries again, and tells why.
                Err(why) => tracing::debug!(why, "no keeper waits"),
            }
        });
        Expected { keepers: Some(self.clone()), starting: Some(starting) }
    }

    async fn start_ahead(&self) -> Result<Waiting, String> {
        let mut waiting = Waiting::start(&self.command)?;
        if self.has_namespace {
            let request = Request::Ahead { generation: GENERATION };
            let mut line = serde_json::to_vec(&request).map_err(|why| why.to_string())?;
            line.push(b'\n');
            waiting.input.write_all(&line).await.map_err(|why| why.to_string())?;
        }
        Ok(waiting)
    }

    async fn put(&self, waiting: Waiting) {
        let surplus = {
            let mut ahead = self.ahead();
            ahead.waiting.push(waiting);
            ahead.surplus()
        };
        if let Some(surplus) = surplus {
            surplus.end().await;
        }
    }

    /// One that waits, or a new one.
    pub(super) fn take(&self) -> Result<Waiting, String> {
        loop {
            let Some(mut waiting) = self.ahead().waiting.pop() else { return Waiting::start(&self.command) };
            if waiting.is_there() {
                return Ok(waiting);
            }
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a keeper will be needed. Dropped, it is not needed any more; [`Expected::over`] also waits until it has ended.
#[derive(Debug)]
#[must_use]
pub struct Expected {
    keepers: Option<Keepers>,
    starting: Option<JoinHandle<()>>,
}

impl Expected {
    /// Nothing is expected.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self { keepers: None, starting: None }
    }

    /// Waits until the keeper is there, or could not be started.
    pub async fn ready(&mut self) {
        if let Some(starting) = self.starting.take() {
            // Of a task that panicked there is nothing to wait for.
            drop(starting.await);
        }
    }

    /// A keeper was used, or is not needed; one that waits for nobody has ended when this returns.
    pub async fn over(mut self) {
        self.ready().await;
        if let Some(surplus) = self.release() {
            surplus.end().await;
        }
    }

    fn release(&mut self) -> Option<Waiting> {
        let keepers = self.keepers.take()?;
        let mut ahead = keepers.ahead();
        ahead.expected -= 1;
        ahead.surplus()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        // One that waits for nobody ends by itself, since its input is closed.
        drop(self.release());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// Keepers that note their number when they start, and wait for words.
    fn keepers(folder: &Path) -> Keepers {
        let script = format!("echo $$ >> {}/started; while read words; do :; done", folder.display());
        let args = vec!["-c".into(), script.into()];
        Keepers::new(KeeperCommand { program: "/bin/sh".into(), args }, true)
    }

    fn started(folder: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join("started")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn until(what: impl Fn() -> bool) {
        let waiting = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), waiting).await.unwrap();
    }

    fn is_gone(pid: &str) -> bool {
        !Path::new("/proc").join(pid).exists()
    }

    #[tokio::test]
    async fn the_one_that_was_expected_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let keepers = keepers(folder.path());
        let expected = keepers.expect();
        until(|| !keepers.ahead().waiting.is_empty()).await;
        let taken = keepers.take().unwrap();
        until(|| started(folder.path()).len() == 1).await;
        assert_eq!(taken.child.id().unwrap().to_string(), started(folder.path())[0]);
        expected.over().await;
        assert!(!is_gone(&started(folder.path())[0]), "it is used");
        taken.end().await;
        assert!(is_gone(&started(folder.path())[0]));
    }

    #[tokio::test]
    async fn one_that_nobody_needs_has_ended_when_nothing_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let keepers = keepers(folder.path());
        let (one, other) = (keepers.expect(), keepers.expect());
        until(|| started(folder.path()).len() == 2).await;
        one.over().await;
        let gone = |pid: &String| is_gone(pid);
        assert_eq!(started(folder.path()).iter().filter(|pid| gone(pid)).count(), 1);
        drop(other);
        until(|| started(folder.path()).iter().all(gone)).await;
        assert_eq!(keepers.ahead().expected, 0);
    }

    #[tokio::test]
    async fn one_that_has_ended_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let keepers = keepers(folder.path());
        let expected = keepers.expect();
        until(|| !keepers.ahead().waiting.is_empty()).await;
        let mut first = keepers.ahead().waiting.pop().unwrap();
        first.child.kill().await.unwrap();
        let dead = first.child.id();
        keepers.ahead().waiting.push(first);
        let taken = keepers.take().unwrap();
        assert_ne!(taken.child.id(), dead);
        assert!(taken.child.id().is_some());
        taken.end().await;
        expected.over().await;
    }

    #[tokio::test]
    async fn a_keeper_that_cannot_be_started_is_told_by_whoever_needs_it() {
        let command = KeeperCommand { program: "/no/such/keeper".into(), args: Vec::new() };
        let keepers = Keepers::new(command, false);
        let expected = keepers.expect();
        let why = keepers.take().unwrap_err();
        assert!(why.starts_with("its keeper /no/such/keeper cannot be started: "), "{why}");
        expected.over().await;
    }
}
