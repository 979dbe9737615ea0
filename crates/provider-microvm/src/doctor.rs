//! What an operator should know of a host before class day. Nothing is changed by looking.

mod monitor;
mod name_servers;
mod production;
mod snapshots;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hostnet::cni::Cni;
use hostnet::{HostNet, InstanceId};
use rustix::fs::{Access, access};
use rustix::thread::CapabilitySet;
use seats::{Finding, ImageRef};

use crate::images::whereabouts;
use crate::vmm::MonitorKind;
use crate::vmm::cgroup::Cgroup;
use crate::vmm::jail::fits;
use crate::{EngineConnect, MicrovmConfig};

/// What the service must be allowed beside the network, which is looked at there (capabilities(7)).
const NEEDED: [(CapabilitySet, &str); 6] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    // Cgroups are made in a folder that not even its owner may write to.
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    // Files of a monitor's user in a seat's folder: their modes and times, and links to them.
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
];

/// Looks at all that microVM seats need of this host but the prepared kernel. `image` and `memory_mib` are those of a seat which asks
/// for none; `engine` is as for [`crate::MicrovmProvider::new`].
pub async fn doctor(
    config: &MicrovmConfig,
    image: &ImageRef,
    memory_mib: u32,
    engine: Option<EngineConnect>,
) -> Vec<Finding> {
    let mut findings = monitor::look(config).await;
    findings.extend([capabilities(), cgroups(config), state_dir(&config.state_dir)]);
    findings.extend(jails(config));
    findings.extend([disk(config), memory(config, memory_mib, monitor::overhead_mib(config, memory_mib))]);
    findings.push(snapshots::look(config, memory_mib).await);
    findings.extend(network(config).await);
    findings.extend(name_servers::look(config, Path::new("/")));
    findings.extend(production::check(Path::new("/"), config.cgroup.as_deref()));
    findings.push(whereabouts(config, image, engine.as_ref()).await);
    findings
}

fn capabilities() -> Finding {
    const NAME: &str = "capabilities";
    const REMEDY: &str = "run as root; deploy/systemd/clarateach-orchestrator-microvm.service lists what is needed of root's rights";
    match rustix::thread::capabilities(None) {
        Ok(sets) => {
            let missing: Vec<_> = NEEDED
                .iter()
                .filter(|(set, _)| !sets.effective.contains(*set))
                .map(|(_, name)| *name)
                .collect();
            if missing.is_empty() {
                Finding::ok(NAME, "may run each monitor as a user of its own, in a cgroup of its own")
            } else {
                let detail = format!(
                    "may not run each monitor as a user and in a cgroup of its own: {} missing",
                    missing.join(", ")
                );
                Finding::error(NAME, detail, REMEDY)
            }
        }
        Err(why) => Finding::error(NAME, format!("cannot be read: {why}"), REMEDY),
    }
}

fn cgroups(config: &MicrovmConfig) -> Finding {
    const NAME: &str = "cgroups";
    let Some(parent) = &config.cgroup else {
        return Finding::warning(NAME, "seats have no limits on this host", "set microvm.cgroup");
    };
    match Cgroup::find(parent, "doctor").and_then(|cgroup| cgroup.writable()) {
        Ok(()) => Finding::ok(NAME, format!("memory, cpu and pids are there; seats are below {parent}")),
        Err(why) => Finding::error(
            NAME,
            why.to_string(),
            "mount the cgroup controllers memory, cpu and pids, version 1 or 2, for writing",
        ),
    }
}

/// The folder itself, or what is there of the way to it.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn state_dir(folder: &Path) -> Finding {
    const NAME: &str = "state_dir";
    let there = existing(folder);
    if let Err(why) = access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        let detail = format!("{} cannot be written: {why}", there.display());
        return Finding::error(NAME, detail, "run as root, or choose another state_dir");
    }
    // Monitors read the kernel as users of their own.
    let closed = there
        .ancestors()
        .find(|path| fs::metadata(path).is_ok_and(|about| about.is_dir() && about.mode() & 0o001 == 0));
    match closed {
        Some(closed) => Finding::error(
            NAME,
            format!(
                "{} lets no other user pass, and monitors, each a user of its own, read the kernel below it",
                closed.display()
            ),
            format!("chmod o+x {}, or choose another state_dir", closed.display()),
        ),
        None => Finding::ok(NAME, folder.display().to_string()),
    }
}

/// Whether jails can be where seats are: a jail is made of hard links to what is below these folders.
fn jails(config: &MicrovmConfig) -> Option<Finding> {
    const NAME: &str = "jails";
    let is_jailed = config.monitor == MonitorKind::Firecracker && !config.is_unjailed();
    is_jailed.then(|| {
        let parts = [
            config.state_dir.join("microvm/workshops"),
            config.boot_folder(),
            config.state_dir.join("images"),
        ];
        let [seats, boot, images] = parts.map(|part| existing(&part));
        match fits(&seats, &[&boot, &images]) {
            Ok(()) => Finding::ok(
                NAME,
                "seats, images and kernel are on one file system, where monitors can be run",
            ),
            Err(why) => Finding::error(
                NAME,
                why.to_string(),
                "keep all of state_dir on one file system, mounted neither nodev nor noexec",
            ),
        }
    })
}

fn disk(config: &MicrovmConfig) -> Finding {
    const NAME: &str = "disk";
    let there = existing(&config.state_dir);
    let about = match rustix::fs::statvfs(&there) {
        Ok(about) => about,
        Err(why) => {
            return Finding::error(NAME, format!("{}: {why}", there.display()), "see the kernel's log");
        }
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize) >> 20;
    let seat = u64::from(config.scratch_mib) + u64::from(config.data_mib);
    let detail = format!(
        "{} GiB free at {}; a seat begins with next to nothing and may write {} GiB",
        free >> 10,
        there.display(),
        seat.div_ceil(1024)
    );
    let remedy = "make room, or lower microvm.scratch_mib and microvm.data_mib";
    if free < u64::from(config.least_free_mib) {
        let detail = format!("{detail}; no seat is made below {} MiB", config.least_free_mib);
        Finding::error(NAME, detail, "make room, or lower microvm.least_free_mib")
    } else if free < seat {
        Finding::warning(NAME, detail, remedy)
    } else {
        Finding::ok(NAME, detail)
    }
}

fn memory(config: &MicrovmConfig, memory_mib: u32, measured_mib: u32) -> Finding {
    const NAME: &str = "memory";
    let text = match fs::read_to_string("/proc/meminfo") {
        Ok(text) => text,
        Err(why) => return Finding::error(NAME, format!("/proc/meminfo: {why}"), "mount /proc"),
    };
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) >> 10;
    let promised = total * u64::from(config.memory_percent) / 100;
    let overhead = config.overhead_mib.unwrap_or(measured_mib);
    let seats = promised / (u64::from(memory_mib) + u64::from(overhead)).max(1);
    let detail = format!(
        "{total} MiB, room for {seats} seats of {memory_mib} MiB (microvm.memory_percent {})",
        config.memory_percent
    );
    if seats == 0 {
        Finding::error(NAME, detail, "lower seats.memory_mib, or take a larger host")
    } else {
        Finding::ok(NAME, detail)
    }
}

async fn network(config: &MicrovmConfig) -> Vec<Finding> {
    // What a service that has run here calls its own; before that, no name is in use.
    let known = fs::read_to_string(config.state_dir.join("microvm/instance"));
    let instance = known.ok().and_then(|text| text.trim_end().parse::<InstanceId>().ok());
    // Nobody's: it is only asked with.
    let Some(instance) = instance.or_else(|| "00000000".parse().ok()) else { return Vec::new() };
    if let Some(options) = config.cni_options(&instance, &config.state_dir.join("microvm")) {
        return match Cni::new(options) {
            Ok(cni) => cni.doctor().await,
            Err(why) => vec![Finding::error("cni_network", why.to_string(), "run as root")],
        };
    }
    match HostNet::open(config.network(instance)) {
        Ok(net) => net.doctor().await,
        Err(why) => vec![Finding::error("network", why.to_string(), "run as root")],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use seats::Level;

    use super::*;
    use crate::vmm::{Jailer, KeeperCommand};

    fn config(state_dir: &Path) -> MicrovmConfig {
        MicrovmConfig::new(state_dir, KeeperCommand { program: "/bin/false".into(), args: Vec::new() })
    }

    #[test]
    fn what_is_needed_is_what_the_unit_gives_and_explains() {
        let unit = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/systemd/clarateach-orchestrator-microvm.service"
        );
        let unit = fs::read_to_string(unit).unwrap();
        let named = |text: &str| -> BTreeSet<String> {
            let words = text.split(|char: char| !(char.is_ascii_uppercase() || char == '_'));
            words.filter(|word| word.starts_with("CAP_")).map(str::to_owned).collect()
        };
        let given = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).map(named);
        // Each has a line of its own that says what for.
        let explained = unit.lines().filter(|line| line.starts_with("#   CAP_")).map(named);
        let explained: BTreeSet<_> = explained.flatten().collect();
        // The network looks at the first itself, and seats run without the second.
        let needed = ["CAP_NET_ADMIN", "CAP_SYS_RESOURCE"].into_iter().chain(NEEDED.map(|(_, name)| name));
        let needed: BTreeSet<_> = needed.map(str::to_owned).collect();
        assert_eq!(given.as_ref(), Some(&needed));
        assert_eq!(explained, needed);
    }

    #[test]
    fn a_folder_that_others_cannot_pass_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let found = state_dir(&closed.join("not/there/yet"));
        assert_eq!(found.level, Level::Error);
        assert!(found.detail.starts_with(&closed.display().to_string()), "{}", found.detail);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(state_dir(&closed.join("not/there/yet")).level, Level::Ok);
    }

    #[test]
    fn where_jails_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let firecracker = MicrovmConfig { monitor: MonitorKind::Firecracker, ..config(folder.path()) };
        let found = jails(&firecracker).unwrap();
        assert_eq!(found.level, Level::Ok, "{}", found.detail);
        // What is not there yet will be where its folder is.
        let elsewhere = MicrovmConfig { boot: Some("/proc/self/boot".into()), ..firecracker.clone() };
        let found = jails(&elsewhere).unwrap();
        assert_eq!(found.level, Level::Error);
        assert!(found.detail.starts_with("/proc/self is on another file system than "), "{}", found.detail);
        for unjailed in [
            MicrovmConfig { monitor: MonitorKind::Qemu, ..firecracker.clone() },
            MicrovmConfig { jailer: Jailer::Off, ..firecracker },
        ] {
            assert!(jails(&unjailed).is_none());
        }
    }

    #[test]
    fn room_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert_eq!(memory(&config, u32::MAX, 224).level, Level::Error);
        assert_eq!(memory(&config, 1, 224).level, Level::Ok);
        let full = MicrovmConfig { least_free_mib: u32::MAX, ..config.clone() };
        assert_eq!(disk(&full).level, Level::Error);
        let tight = MicrovmConfig { data_mib: u32::MAX, least_free_mib: 0, ..config };
        assert_eq!(disk(&tight).level, Level::Warning);
    }
}
