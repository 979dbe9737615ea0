//! A class that goes on from a snapshot: every seat is its own, and nothing of any is in what they share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use provider_microvm::SnapshotUse;
use seats::{ApiKey, Provider as _, SeatSpec, Stage, Timeline};

use crate::bed::{Bed, below, held, holds_one, run_with};
use crate::clock::{drift, now};
use crate::host::START_TIMEOUT;
use crate::isolated;

mod kinds;
mod trouble;

/// How far a clock may be off that was set.
const NEAR: Duration = Duration::from_secs(5);
/// How old a snapshot is from which nobody goes on with a clock that looks right.
const OLD: Duration = Duration::from_secs(15);

/// Waits until a snapshot is that old, and tells how old it is.
async fn old_enough(snapshot: &Path) -> Duration {
    let made = fs::metadata(snapshot).unwrap().modified().unwrap();
    loop {
        let age = made.elapsed().unwrap_or_default();
        if age >= OLD {
            return age;
        }
        tokio::time::sleep(OLD - age).await;
    }
}

/// Makes a seat, and tells which stages that took.
async fn stages(bed: &Bed, wish: &SeatSpec) -> Vec<Stage> {
    let timeline = Timeline::default();
    let made = bed.provider().create(wish, &timeline).await;
    let made = made.unwrap_or_else(|why| panic!("{}: {why}", wish.seat));
    timeline.finish();
    let made = bed.provider().settle(&made.instance, START_TIMEOUT).await.unwrap();
    assert_eq!(made.status, seats::Status::Running, "{made:?}\n{}", bed.console(&wish.seat));
    bed.answers(&made);
    timeline.timings().iter().map(|timing| timing.stage).collect()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_class_of_four_goes_on_from_one_snapshot() {
    isolated!(a_class_of_four_goes_on_from_one_snapshot, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let wishes: Vec<_> = (1..=4)
                    .map(|number| {
                        let mut wish = bed.spec(&bed.seat(number), "latest");
                        wish.api_key = Some(ApiKey::new(format!("sk-canary-{number}")).unwrap());
                        wish
                    })
                    .collect();
                let all = futures_util::future::join_all(wishes.iter().map(|wish| stages(bed, wish))).await;
                for stages in &all {
                    assert!(
                        stages.contains(&Stage::Restore) && !stages.contains(&Stage::Start),
                        "{stages:?}"
                    );
                }
                // Each is somebody else, and knows what time it is.
                let mut seen: [BTreeSet<String>; 6] = Default::default();
                for wish in &wishes {
                    let seat = &wish.seat;
                    let busybox = "/bin/busybox";
                    let random = format!("head -c 16 /dev/urandom | {busybox} od -An -tx1 -v");
                    let facts = [
                        format!("{busybox} ip -4 -o addr show dev eth0 | {busybox} sed 's/.*inet //'"),
                        "cat /sys/class/net/eth0/address".to_owned(),
                        "cat /etc/machine-id".to_owned(),
                        "cat /proc/sys/kernel/random/boot_id".to_owned(),
                        random,
                        "cat /proc/sys/kernel/hostname".to_owned(),
                    ];
                    for (seen, fact) in seen.iter_mut().zip(facts) {
                        let said = bed.shell(seat, &fact).await;
                        assert!(!said.is_empty(), "{fact}");
                        assert!(seen.insert(said.clone()), "{said} twice: {fact}");
                    }
                    assert!(seen[5].contains(&format!("seat-{}", seat.seat)), "{:?}", seen[5]);
                    let drift = drift(&bed.agent(seat).await).await;
                    assert!(drift < NEAR, "{seat}: {drift:?}");
                    let pid = bed.agent(seat).await.health().await.unwrap().workload.pid.unwrap();
                    let variables = bed.shell(seat, &format!("cat /proc/{pid}/environ")).await;
                    for number in 1..=4 {
                        let is_own = seat.seat.to_string() == number.to_string();
                        assert_eq!(variables.contains(&format!("sk-canary-{number}")), is_own, "{variables}");
                    }
                }
                // Nothing of them is in what they share.
                let files = below(&bed.host.folder.path().join("state/microvm/snapshots"));
                assert_eq!(files.iter().filter(|path| path.ends_with("snapshot.json")).count(), 1);
                // Without the network's prefix, and what is behind it.
                let facts = seen.iter().flatten().map(|fact| fact.split('/').next().unwrap_or_default());
                let mut words: Vec<_> = facts.collect();
                assert_eq!(words.len(), 6 * wishes.len());
                words.extend(["sk-canary-", "demo/1"]);
                let macs: Vec<_> = seen[1].iter().map(|mac| octets(mac)).collect();
                let memory = files.iter().find(|path| path.ends_with("memory")).unwrap();
                // What is there is found, in either way.
                let kernel = "Linux version ";
                assert!(holds_one(memory, &[kernel]) && held(memory, &[kernel.into()]).is_some());
                for path in files.iter().filter(|path| path.is_file()) {
                    assert!(!holds_one(path, &words), "{} tells one of {words:?}", path.display());
                    assert_eq!(held(path, &macs), None, "{} tells", path.display());
                }
                // The next service knows them, and goes on from what is on the disk.
                bed.leave();
                bed.serve().await;
                for wish in &wishes {
                    bed.answers(&bed.until_running(&wish.seat).await);
                }
                let seat = &wishes[0].seat;
                bed.destroy(seat).await;
                let aged = old_enough(&snapshots(bed).remove(0)).await;
                let before = now();
                let again = stages(bed, &wishes[0]).await;
                assert!(again.contains(&Stage::Restore) && !again.contains(&Stage::Start), "{again:?}");
                // The saved guest's clock stood still for that long. It is set with the configuration, and looked at again after that.
                let written: u64 =
                    bed.shell(seat, "/bin/busybox date -r /etc/hostname +%s").await.parse().unwrap();
                let latest = now() + NEAR;
                let written = Duration::from_secs(written);
                assert!(
                    written + NEAR > before && written < latest,
                    "{written:?}, and {before:?}, {aged:?} after it was saved"
                );
                let drift = drift(&bed.agent(seat).await).await;
                assert!(drift < NEAR, "{drift:?}");
                for wish in &wishes {
                    bed.destroy(&wish.seat).await;
                }
            },
        );
    });
}

/// The octets of a hardware address as it is written.
fn octets(mac: &str) -> Vec<u8> {
    mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn nothing_of_the_disks_of_the_first_seat_is_in_the_snapshot() {
    isolated!(nothing_of_the_disks_of_the_first_seat_is_in_the_snapshot, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let wish = bed.spec(&bed.seat(1), "latest");
                stages(bed, &wish).await;
                bed.shell(&wish.seat, "echo homework >/workspace/note; sync").await;
                bed.put_away(&wish.seat).await;
                // As a learner who is root may leave it: a partition table before the file system, which every kernel reads as soon as it sees the disk.
                let marker = b"marker-of-the-learner";
                let data = bed.folder(&wish.seat).join("data.img");
                let file = File::options().read(true).write(true).open(&data).unwrap();
                let mut table = vec![0; 512];
                table[..marker.len()].copy_from_slice(marker);
                // One partition of type Linux, 8 MiB from the first on.
                table[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 64, 0, 0]);
                table[510..].copy_from_slice(&[0x55, 0xaa]);
                file.write_all_at(&table, 0).unwrap();
                // Where ext4 has the number of a file system (s_uuid; Documentation/filesystems/ext4/super.rst of Linux).
                let mut uuid = vec![0; 16];
                file.read_exact_at(&mut uuid, 1024 + 0x68).unwrap();
                assert_ne!(uuid, [0; 16]);

                bed.leave();
                for made in snapshots(bed) {
                    fs::remove_dir_all(made.parent().unwrap()).unwrap();
                }
                bed.serve().await;
                let made = stages(bed, &wish).await;
                assert!(made.contains(&Stage::Snapshot) && !made.contains(&Stage::Start), "{made:?}");
                let folder = snapshots(bed).remove(0);
                for name in ["memory", "state"] {
                    let path = folder.with_file_name(name);
                    // Which of its disks that is, is up to the machine.
                    assert!(!holds_one(&path, &["vda1", "vdb1", "vdc1"]), "{name} has a partition");
                    assert_eq!(held(&path, &[marker.to_vec(), uuid.clone()]), None, "{name}");
                }
                // The seat that goes on from it finds what is on its own disk.
                assert_eq!(bed.shell(&wish.seat, "cat /workspace/note").await, "homework");
                assert!(!bed.folder(&wish.seat).join("nobody").exists());
                bed.destroy(&wish.seat).await;
            },
        );
    });
}

/// The snapshots that are whole.
fn snapshots(bed: &Bed) -> Vec<PathBuf> {
    let all = below(&bed.host.folder.path().join("state/microvm/snapshots"));
    all.into_iter().filter(|path| path.ends_with("snapshot.json")).collect()
}
