//! What a demo may call its own.
//!
//! Notes in the demo's folder:
//!
//! | file             | says                                             | removed                            |
//! |------------------|--------------------------------------------------|------------------------------------|
//! | `lock`           | held while a demo runs; the kernel lets go of it | never                              |
//! | `service.pid`    | the service of the demo                          | when it has ended                  |
//! | `portal.pid`     | its Portal API                                   | when it has ended                  |
//! | `made-WORKSHOP`  | the demo made, or was about to make, a workshop  | when nothing of the workshop is left |

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::demo::portal;
use crate::{console, engine, service};

/// How long an orphaned service gets to end: its own deadline for running creates is 30 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// The right to run a demo in this folder, with this workshop, on this port.
#[derive(Debug)]
pub(crate) struct Claim {
    folder: PathBuf,
    workshop: String,
    _lock: File,
}

impl Claim {
    /// Checks that nobody else's things are in the way, and ends what a killed demo left running.
    pub(crate) async fn stake(folder: &Path, workshop: &str, port: u16) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("a demo runs already; end it with Ctrl-C first"),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the demo's folder"),
        }
        let claim = Self { folder: folder.to_owned(), workshop: workshop.to_owned(), _lock: lock };
        if let Some(trouble) = engine::trouble().await {
            bail!(trouble);
        }
        claim.end_orphan("portal", &portal::settings(folder)).await?;
        claim.end_orphan("service", &service::config(folder)).await?;
        let there = engine::objects(Some(workshop)).await?;
        ensure!(
            there.is_empty() || claim.note().exists(),
            "there is a workshop {workshop} already, and no demo of this folder made it.\n\
             Choose another name: DEMO_WORKSHOP=my-demo make demo\n\
             See what it has:     cargo xtask leaks --workshop {workshop}"
        );
        free("service", port, "DEMO_PORT")?;
        Ok(claim)
    }

    /// The demo's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down which process is the `service` or the `portal`.
    pub(crate) fn note_process(&self, name: &str, pid: i32) -> Result<()> {
        Ok(std::fs::write(self.pid_file(name), format!("{pid}\n"))?)
    }

    /// Writes down that the workshop is ours.
    pub(crate) fn note_workshop(&self) -> Result<()> {
        Ok(std::fs::write(self.note(), "made by cargo xtask demo\n")?)
    }

    /// Strikes a process out: it has ended.
    pub(crate) fn forget_process(&self, name: &str) {
        drop(std::fs::remove_file(self.pid_file(name)));
    }

    /// Strikes the workshop out: nothing of it is left.
    pub(crate) fn forget_workshop(&self) {
        drop(std::fs::remove_file(self.note()));
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pid"))
    }

    fn note(&self) -> PathBuf {
        self.folder.join(format!("made-{}", self.workshop))
    }

    /// Ends a process of a demo that was killed. Its pid may be another's by now, so its arguments must name the
    /// `settings` that only a process of this folder has.
    async fn end_orphan(&self, name: &str, settings: &Path) -> Result<()> {
        let Ok(text) = std::fs::read_to_string(self.pid_file(name)) else { return Ok(()) };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && was_given(pid, settings).await
        {
            console::line(&format!(
                "ending the {name} of a demo that was killed (pid {})",
                pid.as_raw_nonzero()
            ));
            kill_process(pid, Signal::TERM)?;
            let asked = Instant::now();
            while was_given(pid, settings).await {
                if asked.elapsed() > PATIENCE {
                    kill_process(pid, Signal::KILL)?;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.forget_process(name);
        Ok(())
    }
}

/// Checks that a program of the demo could listen on a port that the user chose; 0 takes any.
pub(super) fn free(name: &str, port: u16, variable: &str) -> Result<()> {
    if port != 0
        && let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
    {
        bail!(
            "the {name} cannot listen on port {port}: {error}.\n\
             Choose another port: {variable}={} make demo",
            port.checked_add(1).unwrap_or(8081)
        );
    }
    Ok(())
}

/// Whether this process was started with that file in its arguments.
async fn was_given(pid: Pid, settings: &Path) -> bool {
    let id = pid.as_raw_nonzero().to_string();
    let arguments = match std::fs::read(format!("/proc/{id}/cmdline")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace('\0', " "),
        // Without /proc, as on macOS.
        Err(_) => {
            let mut ps = tokio::process::Command::new("ps");
            crate::child::output(ps.args(["-o", "args=", "-p", &id])).await.unwrap_or_default()
        }
    };
    arguments.contains(&*settings.to_string_lossy())
}
