//! Other programs, run so that nothing of them outlives its time.
//!
//! Each child leads a process group of its own: when it takes too long, or the end is wanted, its whole family ends.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::stop::Stop;

/// How long a family gets to end after SIGTERM, and descendants to let go of the output after the child has ended.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// A child and all that it started in its group.
#[derive(Debug)]
pub(crate) struct Family {
    child: Child,
    group: Pid,
}

impl Family {
    /// Starts a child at the head of a new family.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = name_of(command);
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot run {name}"))?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { group: id.with_context(|| format!("{name} has no process id"))?, child })
    }

    /// The child's process id.
    pub(crate) fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Waits for the child itself; can be given up and asked again.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Asks the family to end, waits as long as the child gets for it, and kills what is left.
    pub(crate) async fn end(&mut self, patience: Duration) -> Result<ExitStatus> {
        // The only error is that nobody is left.
        let _ = kill_process_group(self.group, Signal::TERM);
        drop(tokio::time::timeout(patience, self.child.wait()).await);
        let _ = kill_process_group(self.group, Signal::KILL);
        self.ended().await
    }
}

/// What a recorded child left.
#[derive(Debug)]
pub(crate) struct Record {
    /// Why it counts as failed, if it does.
    pub(crate) trouble: Option<String>,
    /// All it printed.
    pub(crate) text: String,
}

/// Runs a child on this program's own terminal, for as long as it likes.
pub(crate) async fn show(command: &mut Command, stop: &Stop) -> Result<ExitStatus> {
    let mut family = Family::spawn(command.stdin(Stdio::null()))?;
    let ended = stop.or(family.ended()).await;
    if ended.is_err() {
        family.end(GRACE).await?;
    }
    ended
}

/// Runs a child and keeps all it prints, standard output and error in their order, in `log`. Shows what `pick` makes
/// of each line.
pub(crate) async fn record(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    stop: &Stop,
    mut pick: impl FnMut(&str) -> Option<String>,
) -> Result<Record> {
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut family = Family::spawn(command)?;
    // The command holds the pipe's other end until it is told otherwise.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut reader = BufReader::new(pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?);
    let (mut text, mut line) = (Vec::new(), Vec::new());
    let mut ended = false;
    let mut deadline = Instant::now() + limit;
    let late = loop {
        tokio::select! {
            read = reader.read_until(b'\n', &mut line) => {
                if read? == 0 && line.is_empty() {
                    break None;
                }
                file.write_all(&line)?;
                if let Some(shown) = pick(String::from_utf8_lossy(&line).trim_end()) {
                    crate::console::line(&shown);
                }
                text.append(&mut line);
            }
            status = family.ended(), if !ended => {
                status?;
                ended = true;
                deadline = Instant::now() + GRACE;
            }
            () = tokio::time::sleep_until(deadline.into()) => break Some(match ended {
                false => format!("took longer than {} s", limit.as_secs()),
                true => String::from("left processes behind that hold on to its output"),
            }),
            interrupted = stop.wanted() => {
                family.end(GRACE).await?;
                return Err(interrupted.into());
            }
        }
    };
    let status = match late {
        Some(_) => family.end(GRACE).await?,
        None => family.ended().await?,
    };
    let trouble = late.or_else(|| (!status.success()).then(|| format!("ended with {status}")));
    Ok(Record { trouble, text: String::from_utf8_lossy(&text).into_owned() })
}

/// What a child prints on standard output; its failure is an error that holds what it said.
pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let name = name_of(command);
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a program can be found.
pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn name_of(command: &Command) -> String {
    command.as_std().get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn recorded(script: &str, limit: Duration) -> Record {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let record = record(&mut command, &log, limit, &Stop::never(), |_| None).await.unwrap();
        assert_eq!(std::fs::read_to_string(log).unwrap(), record.text);
        record
    }

    #[tokio::test]
    async fn both_outputs_are_kept_in_their_order() {
        let record = recorded("echo one; echo two >&2; printf three", Duration::from_secs(60)).await;
        assert_eq!((record.text.as_str(), record.trouble), ("one\ntwo\nthree", None));
    }

    #[tokio::test]
    async fn a_failure_says_the_exit_code() {
        let record = recorded("exit 3", Duration::from_secs(60)).await;
        assert_eq!(record.trouble.unwrap(), "ended with exit status: 3");
    }

    #[tokio::test]
    async fn who_takes_too_long_is_ended_with_its_family() {
        let started = Instant::now();
        let record = recorded("sleep 600 & echo $!; wait", Duration::from_millis(500)).await;
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!(record.trouble.unwrap(), "took longer than 0 s");
        let pid = Pid::from_raw(record.text.trim().parse().unwrap()).unwrap();
        // Nobody reaps the orphan in some containers: a zombie counts as ended.
        let state =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[tokio::test]
    async fn who_leaves_a_process_behind_is_told_on() {
        let record = recorded("sleep 600 & exit 0", Duration::from_secs(60)).await;
        assert_eq!(record.trouble.unwrap(), "left processes behind that hold on to its output");
    }
}
