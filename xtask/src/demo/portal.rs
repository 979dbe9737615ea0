//! The Portal API beside the service, where Node.js is there.
//!
//! Its settings are in a file of the demo's folder, `portal.env`, which also tells its process from others. Secret and
//! password are made anew for every demo and end with it.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::child::{self, show};
use crate::console;
use crate::daemon::Daemon;
use crate::demo::claim::{Claim, free};
use crate::node;
use crate::repo::Repo;
use crate::service::Service;
use crate::stop::Stop;

/// The account of the demo, as the portal calls it unless it is told.
const USER: &str = "instructor";

/// The running Portal API.
#[derive(Debug)]
pub(crate) struct Portal {
    daemon: Daemon,
    folder: PathBuf,
    password: String,
}

/// The file with the portal's settings in the demo's folder.
pub(super) fn settings(folder: &Path) -> PathBuf {
    folder.join("portal.env")
}

impl Portal {
    /// Builds it when it has changed, and starts it. None where there is no Node.js for it.
    pub(super) async fn start(
        repo: &Repo,
        stop: &Stop,
        claim: &Claim,
        service: &Service,
        port: u16,
    ) -> Result<Option<Self>> {
        console::title("The Portal API");
        if let Some(why) = node::trouble().await {
            console::line(&format!("  left out: {why}"));
            return Ok(None);
        }
        free("portal", port, "DEMO_PORTAL_PORT")?;
        let home = repo.root().join("portal");
        build(repo, stop, &home).await?;
        let folder = claim.folder().join("portal");
        // What a demo left that was killed belongs to its own secret.
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;

        let password = random()?;
        let hash = hashed(repo, &home, &password).await?;
        let file = settings(claim.folder());
        let lines = [
            format!("PORTAL_LISTEN=127.0.0.1:{port}"),
            format!("PORTAL_DATA_DIR={}", folder.display()),
            format!("PORTAL_SECRET={}", random()?),
            format!("PORTAL_PASSWORD_HASH={hash}"),
            // Plain HTTP, and on loopback.
            "PORTAL_SECURE_COOKIES=false".to_owned(),
            format!("ORCHESTRATOR_URL={}", service.url()),
        ];
        std::fs::write(&file, "")?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        std::fs::write(&file, lines.join("\n") + "\n")?;

        let mut command = isolated(repo, &home, "node");
        command.arg(format!("--env-file={}", file.display())).arg(home.join("dist/main.js"));
        let log = claim.folder().join("portal.log");
        let daemon = Daemon::start("portal", &mut command, &log, listening).await?;
        claim.note_process("portal", daemon.id())?;
        console::line(&format!("  listens on {}, logs to {}", daemon.url(), log.display()));
        let portal = Self { daemon, folder, password };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5"]);
        let answer = child::output(curl.arg(format!("{}/api/health", portal.daemon.url()))).await;
        if let Ok(answer) = &answer {
            console::line(&format!(
                "    {}  GET /api/health  {}",
                console::styled("32", "ok"),
                answer.trim()
            ));
        }
        match answer {
            Ok(_) => Ok(Some(portal)),
            Err(error) => {
                portal.stop(claim).await?;
                Err(error.context("the Portal API does not answer"))
            }
        }
    }

    /// Says what to try with it.
    pub(super) fn next(&self) {
        let (url, password) = (self.daemon.url(), &self.password);
        console::dim("  # a class as an instructor brings it up, over the Portal API");
        console::line(&format!(
            "  csrf=$(curl -sc jar -H 'content-type: application/json' {url}/api/session \\\n    \
             -d '{{\"name\": \"{USER}\", \"password\": \"{password}\"}}' | sed 's/.*\"csrf_token\":\"\\([^\"]*\\).*/\\1/')"
        ));
        let curl = "  curl -b jar -H \"x-csrf-token: $csrf\"";
        console::line(&format!(
            "{curl} -H 'content-type: application/json' {url}/api/workshops -d '{{\"id\": \"rust-101\", \"seats\": 2}}'"
        ));
        console::line(&format!("{curl} -X POST {url}/api/workshops/rust-101/start"));
        console::line(&format!("  curl -b jar {url}/api/workshops/rust-101"));
        console::line(&format!("{curl} -X DELETE {url}/api/workshops/rust-101; rm jar"));
    }

    /// Waits until it ends by itself; says how.
    pub(super) async fn ended(&mut self) -> Result<String> {
        let status = self.daemon.ended().await?;
        Ok(format!("the portal ended by itself with {status}; see {}", self.daemon.log.display()))
    }

    /// Ends it, and removes what it kept.
    pub(super) async fn stop(self, claim: &Claim) -> Result<()> {
        let pid = self.daemon.id();
        let stopped = self.daemon.stop().await;
        claim.forget_process("portal");
        drop(std::fs::remove_file(settings(claim.folder())));
        std::fs::remove_dir_all(&self.folder)?;
        console::line(&format!("portal (pid {pid}) stopped"));
        stopped
    }
}

/// Installs what the lock file names, once per lock file, and compiles.
async fn build(repo: &Repo, stop: &Stop, home: &Path) -> Result<()> {
    if !node::is_installed(home) {
        let mut npm = isolated(repo, home, "npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
        ensure!(show(&mut npm, stop).await?.success(), "npm ci failed (see above)");
        node::note_installed(home)?;
    }
    let mut npm = isolated(repo, home, "npm");
    npm.args(["run", "--silent", "build"]);
    ensure!(show(&mut npm, stop).await?.success(), "the portal could not be built (see above)");
    Ok(())
}

/// The password as the portal keeps it. It goes through a pipe: everybody can read arguments.
async fn hashed(repo: &Repo, home: &Path, password: &str) -> Result<String> {
    let mut npm = isolated(repo, home, "npm");
    npm.args(["run", "--silent", "hash-password"]);
    npm.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = npm.spawn().context("cannot run npm")?;
    let mut input = child.stdin.take().context("npm has no input")?;
    input.write_all(format!("{password}\n").as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "npm run hash-password ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A program in the portal's folder, without any setting from the environment.
fn isolated(repo: &Repo, home: &Path, program: &str) -> Command {
    let mut command = repo.command(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("ORCHESTRATOR_") || name.starts_with("PORTAL_") {
            command.env_remove(&*name);
        }
    }
    command.current_dir(home);
    command
}

/// 32 characters that nobody can guess.
fn random() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn listening(line: &str) -> Option<SocketAddr> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    entry["msg"].as_str()?.strip_prefix("Server listening at http://")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_address() {
        let line = r#"{"level":30,"time":1,"pid":1,"msg":"Server listening at http://127.0.0.1:3000"}"#;
        assert_eq!(listening(line), Some("127.0.0.1:3000".parse().unwrap()));
        assert_eq!(listening(r#"{"msg":"closing"}"#), None);
        assert_eq!(listening("not json"), None);
    }

    #[test]
    fn secrets_differ() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 32 && one != other);
    }
}
