//! Runs one plugin.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::error::{CniError, PluginFailure};

/// As much as is read of what a plugin prints, in bytes.
const LONGEST: u64 = 1 << 20;
/// As much of its messages as is told.
const MESSAGES: usize = 2000;
/// Where plugins find the programs that they call: iptables, nft, ip.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One run of a plugin.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// For whom, as errors name it.
    pub(super) whom: &'a str,
    pub(super) plugin: &'a str,
    pub(super) program: &'a Path,
    pub(super) verb: &'static str,
    /// Where plugins find those that they delegate to.
    pub(super) folders: &'a [PathBuf],
    /// `CNI_CONTAINERID`, `CNI_NETNS`, `CNI_IFNAME`; none for VERSION.
    pub(super) attachment: Option<(&'a str, Option<&'a Path>, &'a str)>,
    pub(super) input: File,
    pub(super) limit: Duration,
}

/// Kills a plugin with all that it started, unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Run<'_> {
    /// What the plugin printed. When this is dropped before it has ended, the plugin is killed.
    pub(super) async fn run(self) -> Result<Vec<u8>, CniError> {
        let Self { whom, plugin, program, verb, folders, attachment, input, limit } = self;
        let mut command = Command::new(program);
        // Nothing of the service's environment is for it: there may be secrets in it.
        command.env_clear().env("PATH", PATH).env("CNI_COMMAND", verb);
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        command.env("CNI_PATH", folders.join(":"));
        if let Some((container, namespace, interface)) = attachment {
            command.env("CNI_CONTAINERID", container).env("CNI_IFNAME", interface);
            command.env("CNI_NETNS", namespace.unwrap_or(Path::new("")));
            // A convention of CNI's: whoever does not know an argument goes on.
            command.env("CNI_ARGS", "IgnoreUnknown=1");
        }
        command.current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let doing = format!("starting the CNI plugin {}", program.display());
        let mut child = command.spawn().map_err(CniError::host(whom, doing))?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let mut group = Group(group);
        let (output, messages) = (child.stdout.take(), child.stderr.take());
        let ended =
            tokio::time::timeout(limit, async { tokio::join!(all(output), all(messages), child.wait()) })
                .await;
        let Ok((output, messages, status)) = ended else {
            drop(group);
            drop(child.wait().await);
            let (for_whom, plugin) = (whom.to_owned(), plugin.to_owned());
            return Err(CniError::Hangs { for_whom, plugin, verb, limit });
        };
        group.0 = None;
        let status = status.map_err(CniError::host(whom, format!("waiting for the CNI plugin {plugin}")))?;
        if status.success() {
            return Ok(output);
        }
        let tail = &messages[messages.len().saturating_sub(MESSAGES)..];
        let failure = PluginFailure::read(&output, tail, &status.to_string());
        Err(CniError::Plugin { for_whom: whom.to_owned(), plugin: plugin.to_owned(), verb, failure })
    }
}

/// What comes out of a pipe, to its end; no more than [`LONGEST`] of it is kept.
async fn all(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        // What cannot be read is missing from the answer, which says so.
        drop((&mut pipe).take(LONGEST).read_to_end(&mut kept).await);
        drop(tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await);
    }
    kept
}

/// The program of a plugin: in the first folder that has one.
pub(super) fn find(plugin: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    folders.iter().map(|folder| folder.join(plugin)).find(is_program)
}
