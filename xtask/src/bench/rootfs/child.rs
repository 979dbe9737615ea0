//! A program and all that it starts, which ends when the end is wanted.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use wait4::{ResUse, Wait4 as _};

use crate::stop::Stop;

/// How long a family gets to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// What a program was, when it ended well.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) wall: Duration,
    /// Processor time, user and system, of it and all that it waited for.
    pub(super) cpu: Duration,
    /// The largest resident set of one process among these, in bytes.
    pub(super) peak: u64,
    /// Bytes that these made dirty in files on disks: `write_bytes` of `proc_pid_io(5)`.
    pub(super) written: Option<u64>,
    /// What it printed on standard output.
    pub(super) output: String,
}

/// Makes a shell of a command that ends in `bash`: the first error ends the script.
pub(super) fn shell(command: &mut Command, script: &str) {
    command.args(["-euo", "pipefail", "-c", script]);
}

/// The path with the administrator's programs, which not every user has in it.
pub(super) fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs it to its end. What it prints goes through files in `logs`.
pub(super) async fn run(mut command: Command, logs: &Path, stop: &Stop) -> Result<Ended> {
    let (output, errors) = (logs.join("output"), logs.join("errors"));
    let name = command.get_program().to_string_lossy().into_owned();
    // With a path of its own each is forked alike; what this program had in memory at that moment counts for its peak.
    command.env("PATH", path());
    command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&errors)?);
    let began = Instant::now();
    let child = command.process_group(0).spawn().with_context(|| format!("cannot run {name}"))?;
    let id = Pid::from_child(&child);
    let mut family = Family(Some(id));
    let waiting = tokio::task::spawn_blocking(move || {
        // It stays until it is asked for its resources, and what it wrote can still be read.
        waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let wall = began.elapsed();
        let io = fs::read_to_string(format!("/proc/{}/io", id.as_raw_nonzero())).ok();
        anyhow::Ok((wall, io, child.wait4()?))
    });
    let mut waiting = std::pin::pin!(waiting);
    let ended = tokio::select! {
        ended = &mut waiting => ended,
        interrupted = stop.wanted() => {
            // The only error is that nobody is left.
            let _ = kill_process_group(id, Signal::TERM);
            drop(tokio::time::timeout(GRACE, &mut waiting).await);
            drop(family);
            return Err(interrupted.into());
        }
    };
    let (wall, io, ResUse { status, rusage }) = ended??;
    if !status.success() {
        let said = fs::read(&errors)?;
        bail!(
            "{name} ended with {status}: {}",
            match String::from_utf8_lossy(&said).trim() {
                "" => "it said nothing, as when the disk is full",
                said => said,
            }
        );
    }
    family.0 = None;
    let output = fs::read_to_string(&output)?;
    let cpu = rusage.utime + rusage.stime;
    Ok(Ended { wall, cpu, peak: rusage.maxrss, written: io.as_deref().and_then(written_in), output })
}

/// A process group that is killed unless it ended well.
struct Family(Option<Pid>);

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

fn written_in(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<Ended> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("bash");
        shell(&mut command, script);
        run(command, folder.path(), &Stop::never()).await
    }

    #[tokio::test]
    async fn what_it_prints_is_kept_and_it_is_weighed() {
        let ended = sh("echo said; echo not said >&2").await.unwrap();
        assert_eq!(ended.output, "said\n");
        assert!(ended.peak > 0);
        assert!(ended.wall > Duration::ZERO);
    }

    #[tokio::test]
    async fn any_failure_in_a_script_is_one() {
        let error = sh("false | cat; echo gone on").await.unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
        let error = sh("echo why >&2; exit 3").await.unwrap_err().to_string();
        assert!(error.ends_with("exit status: 3: why"), "{error}");
    }

    #[tokio::test]
    async fn who_is_given_up_is_killed_with_its_family() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("bash");
        shell(&mut command, "sleep 600 & echo $!; wait");
        let said = async {
            loop {
                let text = fs::read_to_string(folder.path().join("output")).unwrap_or_default();
                if let Some(id) = text.strip_suffix('\n') {
                    return id.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let stop = Stop::never();
        let id = tokio::select! {
            ended = run(command, folder.path(), &stop) => panic!("{ended:?}"),
            id = said => id,
        };
        let alive = || {
            // Nobody reaps the orphan in some containers: a zombie counts as ended.
            fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        for _ in 0..1000 {
            if !alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {id} lives on");
    }

    #[test]
    fn the_kernels_table_of_io() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(written_in(io), Some(4096));
        assert_eq!(written_in(""), None);
    }
}
