//! What seats go on from instead of booting: how many there are, what they take, and whether they can still be used.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use seats::Finding;

use super::existing;
use crate::vmm::{Firecracker, MonitorKind, Qemu, Snapshot, Snapshots as _, Traits, snapshot};
use crate::{MicrovmConfig, SnapshotUse};

const NAME: &str = "snapshots";
/// What is looked for in a seat's record.
const RESTORED: &str = "restored";

/// What is on the disk.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Those that seats can go on from.
    fit: usize,
    /// Those of another monitor or guest kernel, by why.
    stale: Vec<String>,
    /// Those that are not whole, and what was being written when a service was killed.
    broken: usize,
    bytes: u64,
}

/// What is here now.
#[derive(Debug, Default)]
struct Here {
    /// The monitor of new seats, its version and the digest of its program.
    monitor: Option<(MonitorKind, String, String)>,
    /// The digests of the guest kernel and its first root.
    boot: Option<(String, String)>,
}

/// Looks at all of them. Nothing is changed.
pub(super) async fn look(config: &MicrovmConfig, memory_mib: u32) -> Finding {
    let is_on = config.snapshot == SnapshotUse::Auto;
    let microvm = config.state_dir.join("microvm");
    let here = Here { monitor: monitor(config).await, boot: boot(config) };
    let found = match found(&microvm.join("snapshots"), &here) {
        Ok(found) => found,
        Err(why) => {
            return Finding::warning(
                NAME,
                format!("cannot be read: {why}"),
                "run as root; seats boot meanwhile",
            );
        }
    };
    let seats = restored(&microvm.join("workshops"));
    let free = rustix::fs::statvfs(existing(&config.state_dir));
    let free_mib = free.map_or(0, |about| about.f_bavail.saturating_mul(about.f_frsize) >> 20);
    let needs_mib = u64::from(memory_mib) * u64::from(files_of_memory(config));
    told(is_on, &found, seats, (free_mib, needs_mib + u64::from(config.least_free_mib)))
}

fn told(is_on: bool, found: &Found, seats: usize, (free_mib, needs_mib): (u64, u64)) -> Finding {
    let Found { fit, stale, broken, bytes } = found;
    let there = fit + stale.len() + broken;
    let setting = if is_on { "" } else { "microvm.snapshot is off; " };
    let mut detail =
        format!("{setting}{there} on the disk ({} MiB), {seats} seats go on from one", bytes >> 20);
    if !is_on {
        return Finding::ok(NAME, detail);
    }
    if let Some(why) = stale.first() {
        detail.push_str(&format!("; {} of no use any more, which later ones replace ({why})", stale.len()));
    }
    if *broken > 0 {
        detail.push_str(&format!("; {broken} not whole, which are made anew"));
    }
    if free_mib < needs_mib {
        let detail = format!(
            "{detail}; {free_mib} MiB are free, and for the next one {needs_mib} MiB have to be, microvm.least_free_mib included"
        );
        return Finding::warning(NAME, detail, "make room; seats of a kind that has none boot meanwhile");
    }
    Finding::ok(NAME, detail)
}

/// As when one is made.
fn files_of_memory(config: &MicrovmConfig) -> u32 {
    match config.monitor {
        MonitorKind::Qemu => Qemu::new(config.qemu()).files_of_memory(),
        MonitorKind::Firecracker => Firecracker::new(config.firecracker()).files_of_memory(),
    }
}

async fn monitor(config: &MicrovmConfig) -> Option<(MonitorKind, String, String)> {
    let (program, version) = match config.monitor {
        MonitorKind::Qemu => {
            let (program, version) = Qemu::new(config.qemu()).check().await.ok()?;
            (program, version.to_string())
        }
        MonitorKind::Firecracker => {
            let (program, version) = Firecracker::new(config.firecracker()).check().await.ok()?;
            (program, version.to_string())
        }
    };
    Some((config.monitor, version, digest(&program)?))
}

fn boot(config: &MicrovmConfig) -> Option<(String, String)> {
    let boot = guest_boot::Boot::open(&config.boot_folder()).ok()?;
    Some((digest(&boot.kernel())?, digest(&boot.initramfs())?))
}

fn digest(file: &Path) -> Option<String> {
    snapshot::digest(&fs::File::open(file).ok()?).ok().map(|(_, digest)| digest)
}

fn found(folder: &Path, here: &Here) -> io::Result<Found> {
    let mut found = Found::default();
    for path in entries(folder)? {
        for file in entries(&path).unwrap_or_default() {
            // Blocks of stat(2).
            found.bytes += fs::metadata(file).map_or(0, |about| about.blocks() * 512);
        }
        let is_named = path.extension().is_none();
        match Snapshot::look(&path).ok().filter(|_| is_named) {
            None => found.broken += 1,
            Some(traits) => match here.differs(&traits) {
                None => found.fit += 1,
                Some(why) => found.stale.push(why),
            },
        }
    }
    Ok(found)
}

impl Here {
    /// What a snapshot was made of that is not here any more. What cannot be told is taken for the same.
    fn differs(&self, traits: &Traits) -> Option<String> {
        if let Some((monitor, version, program)) = &self.monitor {
            if traits.monitor != *monitor {
                return Some(format!("made by {}, and seats run in {monitor} now", traits.monitor));
            }
            if traits.version != *version {
                return Some(format!("made by {monitor} {}, and here is {version}", traits.version));
            }
            if traits.program != *program {
                return Some(format!("made by another build of {monitor} {version}"));
            }
        }
        let (kernel, initramfs) = self.boot.as_ref()?;
        let is_other = traits.kernel != *kernel || traits.initramfs != *initramfs;
        is_other.then(|| "made with another guest kernel".to_owned())
    }
}

/// How many seats have a record that says so.
fn restored(workshops: &Path) -> usize {
    let seats = entries(workshops).unwrap_or_default().into_iter();
    let records = seats.flat_map(|workshop| entries(&workshop).unwrap_or_default());
    let is_one = |seat: &PathBuf| {
        let text = fs::read(seat.join("seat.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        record[RESTORED].is_object()
    };
    records.filter(is_one).count()
}

/// What is in a folder; nothing when there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read?.map(|entry| Ok(entry?.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use seats::Level;

    use super::*;

    #[test]
    fn what_is_of_no_use_is_said_and_room_is_looked_for() {
        let one = Found { fit: 1, bytes: 70 << 20, ..Found::default() };
        let said = told(true, &one, 3, (500, 128));
        assert_eq!(
            (said.level, said.detail.as_str()),
            (Level::Ok, "1 on the disk (70 MiB), 3 seats go on from one")
        );
        assert!(told(false, &one, 0, (0, 128)).detail.starts_with("microvm.snapshot is off; 1 on the disk"));
        let said = told(true, &one, 3, (100, 128));
        assert_eq!(said.level, Level::Warning);
        assert!(
            said.detail.ends_with(
                "100 MiB are free, and for the next one 128 MiB have to be, microvm.least_free_mib included"
            ),
            "{}",
            said.detail
        );
        let old = Found { stale: vec!["made with another guest kernel".into()], broken: 2, ..one };
        let said = told(true, &old, 3, (500, 128)).detail;
        assert!(said.contains(
            "1 of no use any more, which later ones replace (made with another guest kernel); 2 not whole"
        ));
    }

    #[tokio::test]
    async fn room_is_looked_for_as_it_is_when_one_is_made() {
        let at = tempfile::tempdir().unwrap();
        let keeper = crate::vmm::KeeperCommand { program: "/bin/false".into(), args: Vec::new() };
        let mut config = MicrovmConfig::new(at.path(), keeper);
        config.snapshot = SnapshotUse::Auto;
        // A gibibyte is kept on any disk; no disk has a pebibyte.
        let memory_mib = 1 << 30;
        for (monitor, needs) in [(MonitorKind::Qemu, 1), (MonitorKind::Firecracker, 2)] {
            config.monitor = monitor;
            let said = look(&config, memory_mib).await;
            let wanted = format!(" {} MiB have to be", needs * (1_u64 << 30) + 1024);
            assert!(said.level == Level::Warning && said.detail.contains(&wanted), "{}", said.detail);
        }
    }

    #[test]
    fn a_snapshot_of_another_monitor_or_kernel_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(found(&folder.path().join("none"), &Here::default()).unwrap(), Found::default());
        let traits = Traits::sample();
        let unfinished = snapshot::write(&folder.path().join("aa")).unwrap();
        unfinished.finish(&snapshot::Memory::empty(1).unwrap(), traits.clone()).unwrap();
        fs::create_dir(folder.path().join("bb.new")).unwrap();
        let same = |program: &str, kernel: &str| Here {
            monitor: Some((traits.monitor, traits.version.clone(), program.into())),
            boot: Some((kernel.into(), traits.initramfs.clone())),
        };
        let looked = found(folder.path(), &same(&traits.program, &traits.kernel)).unwrap();
        assert_eq!((looked.fit, looked.stale.len(), looked.broken), (1, 0, 1));
        assert!(looked.bytes > 0);
        let looked = found(folder.path(), &same("another", &traits.kernel)).unwrap();
        assert_eq!(looked.stale, ["made by another build of QEMU 7.2.22"]);
        let looked = found(folder.path(), &same(&traits.program, "another")).unwrap();
        assert_eq!(looked.stale, ["made with another guest kernel"]);
        let firecracker = (MonitorKind::Firecracker, "1.16.1".to_owned(), "aa".to_owned());
        let looked = found(folder.path(), &Here { monitor: Some(firecracker), boot: None }).unwrap();
        assert_eq!(looked.stale, ["made by QEMU, and seats run in Firecracker now"]);
        // What is not known here is no reason.
        assert_eq!(found(folder.path(), &Here::default()).unwrap().fit, 1);
    }
}
