//! As `init=` of an image's own disk: the image's program runs as in a container, without a host. When it ends, so does the machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use guest_protocol::{EnvVar, GuestConfig, Restart, RestartPolicy, Run, WorkloadState};
use rustix::fs::StatVfsMountFlags;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::stop_on_signals;
use crate::console::say;
use crate::guest::Guest;
use crate::seat::{self, OwnDisk};

/// Our folder in the image, and where the memory goes that is laid over a root that cannot be written to.
const FOLDER: &str = "/.clarateach";
const HOSTNAME: &str = "clarateach";

/// What the converter wrote beside us.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    config: Run,
}

/// Runs the image's program until it ends.
pub(super) async fn run(document: &Path) -> Result<(), String> {
    let text = fs::read_to_string(document).map_err(|why| format!("{}: {why}", document.display()))?;
    let Document { schema, config } =
        serde_json::from_str(&text).map_err(|why| format!("{}: {why}", document.display()))?;
    if schema != 1 {
        return Err(format!("{} has schema {schema}, and 1 is known", document.display()));
    }
    let hostname = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let hostname = Some(hostname.trim()).filter(|name| !name.is_empty()).unwrap_or(HOSTNAME).to_owned();
    let mut seat = GuestConfig::new("this image", hostname, machine_id(), config);
    seat.env.push(EnvVar::open("MICROVM_MODE", "true"));
    seat.restart = Restart { policy: RestartPolicy::Never, ..Restart::default() };

    let guest = Guest::new(Box::new(OwnDisk));
    guest.reaper.run().map_err(|why| format!("children cannot be waited for: {why}"))?;
    guest.log.copy_to_console();
    stop_on_signals(&guest)?;
    guest.configure(seat).map_err(|problem| problem.message)?;
    let mut changes = guest.changes();
    loop {
        let health = guest.health();
        match health.workload.state {
            WorkloadState::Exited => {
                let code = health.workload.last_exit.map_or(0, guest_protocol::Exit::code);
                say(format_args!("the workspace exits with code {code}"));
                break;
            }
            // The reason was said.
            WorkloadState::Failed => break,
            _ if health.reason.is_some() && health.phase == guest_protocol::Phase::Failed => break,
            _ => {}
        }
        if changes.changed().await.is_err() {
            break;
        }
    }
    guest.stop(Duration::ZERO);
    guest.over().await;
    drop(spawn_blocking(move || guest.power_off()).await);
    Ok(())
}

/// Lays memory over a root that cannot be written to. Nothing is mounted yet; our own folder is there.
pub(super) fn make_writable() -> Result<(), String> {
    let found = rustix::fs::statvfs("/").map_err(|why| format!("the root cannot be looked at: {why}"))?;
    if !found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let done = (|| {
        seat::tmpfs(FOLDER, "mode=0755")?;
        let (memory, new) = (Path::new(FOLDER), Path::new(FOLDER).join("new"));
        seat::overlay(Path::new("/"), memory, &new)?;
        seat::become_root(&new, &[])
    })();
    done.map_err(|why: std::io::Error| {
        format!("memory cannot be laid over the root, which cannot be written to: {why}")
    })
}

/// The image's own, or one of this boot.
fn machine_id() -> String {
    let own = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let boot = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let is_one = |text: &String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(own.trim().to_owned()).filter(is_one).unwrap_or_else(|| boot.trim().replace('-', ""))
}
