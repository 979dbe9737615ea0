//! What this process finds out about its host by itself.

use std::path::Path;

use seats::Finding;

use crate::config::{Config, Settings};

/// Files that the service opens besides its connections: the engine's streams, the log, the runtime.
const OWN_FILES: u64 = 256;

/// Whether others can read the token.
pub(super) fn token_file(config: &Config) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = config.settings.token_file.as_ref()?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    Some(if mode & 0o077 == 0 {
        Finding::ok("token", format!("{} can be read by its owner only", path.display()))
    } else {
        let detail =
            format!("{} can be read by others on this host (mode {:o})", path.display(), mode & 0o777);
        Finding::warning("token", detail, format!("chmod 600 {}", path.display()))
    })
}

/// Whether this process may have as many files open as the service's connections are.
pub(super) fn open_files(settings: &Settings) -> Finding {
    let needed = u64::from(settings.http_connections.0) + OWN_FILES;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(current) if current < needed => Finding::warning(
            "open files",
            format!("this shell allows {current}; {needed} are needed when all http.connections are in use"),
            format!("raise it (ulimit -n {needed}, or LimitNOFILE= in the unit), or lower http.connections"),
        ),
        Some(current) => Finding::ok("open files", format!("{current} allowed, {needed} needed at most")),
        None => Finding::ok("open files", "unlimited"),
    }
}

/// Whether the kernel has numbers for the processes of a class of containers; those of microVMs are their guests' own.
/// Linux only: elsewhere the engine runs in a virtual machine of its own, whose limits count.
pub(super) fn processes(settings: &Settings) -> Option<Finding> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok()?.trim().parse::<u64>().ok();
    let pid_max = read("/proc/sys/kernel/pid_max")?;
    let threads_max = read("/proc/sys/kernel/threads-max").unwrap_or(u64::MAX);
    let (most, knob) =
        if threads_max < pid_max { (threads_max, "kernel.threads-max") } else { (pid_max, "kernel.pid_max") };
    let class = u64::from(settings.seats_max.highest()) * u64::from(settings.seats_pids.0);
    Some(if class > most {
        Finding::warning(
            "processes",
            format!("{knob} allows {most}; a full class of {} may use {class}", settings.seats_max.highest()),
            format!("raise it (sysctl -w {knob}={}), or lower seats.pids", class.next_power_of_two()),
        )
    } else {
        Finding::ok("processes", format!("{most} allowed ({knob}), {class} for a full class at most"))
    })
}
