//! A class that goes on from a snapshot: every seat is its own, and nothing of any is in what they share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use provider_microvm::SnapshotUse;
use seats::{ApiKey, Provider as _, SeatSpec, Stage, Timeline};

use crate::bed::{Bed, below, held, holds_one, run_with};
use crate::host::START_TIMEOUT;
use crate::isolated;

/// What an agent says once, when it is ready for its host (guest-agent).
const BOOTED: &str = "clarateach-agent: waits for the host on ";

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
                    let told: u64 = bed.shell(seat, &format!("{busybox} date +%s")).await.parse().unwrap();
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                    assert!(
                        Duration::from_secs(told).abs_diff(now) < Duration::from_secs(60),
                        "{told} and {now:?}"
                    );
                    let pid = bed.agent(seat).await.health().await.unwrap().workload.pid.unwrap();
                    let variables = bed.shell(seat, &format!("cat /proc/{pid}/environ")).await;
                    for number in 1..=4 {
                        let is_own = seat.seat.to_string() == number.to_string();
                        assert_eq!(variables.contains(&format!("sk-canary-{number}")), is_own, "{variables}");
                    }
                }
                // Nothing of them is in what they share.
                let snapshots = below(&bed.host.folder.path().join("state/microvm/snapshots"));
                assert_eq!(snapshots.iter().filter(|path| path.ends_with("snapshot.json")).count(), 1);
                // Without the network's prefix, and what is behind it.
                let facts = seen.iter().flatten().map(|fact| fact.split('/').next().unwrap_or_default());
                let mut words: Vec<_> = facts.collect();
                assert_eq!(words.len(), 6 * wishes.len());
                words.extend(["sk-canary-", "demo/1"]);
                let macs: Vec<_> = seen[1].iter().map(|mac| octets(mac)).collect();
                for path in snapshots.iter().filter(|path| path.is_file()) {
                    assert!(!holds_one(path, &words), "{} tells one of {words:?}", path.display());
                    assert_eq!(held(path, &macs), None, "{} tells", path.display());
                }
                // The next service knows them, and goes on from what is on the disk.
                bed.leave();
                bed.serve().await;
                for wish in &wishes {
                    bed.answers(&bed.until_running(&wish.seat).await);
                }
                bed.destroy(&wishes[0].seat).await;
                let again = stages(bed, &wishes[0]).await;
                assert!(again.contains(&Stage::Restore) && !again.contains(&Stage::Start), "{again:?}");
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

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_whose_snapshot_is_damaged_boots() {
    isolated!(a_seat_whose_snapshot_is_damaged_boots, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let (seat, other) = (bed.seat(1), bed.seat(2));
                stages(bed, &bed.spec(&seat, "latest")).await;
                bed.destroy(&seat).await;
                // Of the right size, and nonsense: it is not read before it is used.
                let all = below(&bed.host.folder.path().join("state/microvm/snapshots"));
                let state = all.iter().find(|path| path.ends_with("state")).unwrap();
                let size = usize::try_from(fs::metadata(state).unwrap().len()).unwrap();
                fs::write(state, vec![b'x'; size]).unwrap();
                bed.leave();
                bed.serve().await;
                for seat in [&seat, &other] {
                    let stages = stages(bed, &bed.spec(seat, "latest")).await;
                    assert!(stages.contains(&Stage::Start), "{stages:?}");
                    bed.destroy(seat).await;
                }
            },
        );
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_whose_snapshot_has_another_memory_boots() {
    isolated!(a_seat_whose_snapshot_has_another_memory_boots, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let (seat, other) = (bed.seat(1), bed.seat(2));
                stages(bed, &bed.spec(&seat, "latest")).await;
                bed.destroy(&seat).await;
                // As long as it should be: the monitor takes it, and the guest finds nothing of what it was about to do.
                let memory = snapshots(bed).remove(0).with_file_name("memory");
                overwrite(&memory);
                bed.leave();
                bed.serve().await;
                for (seat, stay) in [(&seat, 1), (&other, 0)] {
                    let stages = stages(bed, &bed.spec(seat, "latest")).await;
                    let is_so = |stage| stages.contains(&stage);
                    assert!(is_so(Stage::Restore) && is_so(Stage::Start), "{stages:?}");
                    assert!(!is_so(Stage::Snapshot) || *seat == bed.seat(1), "{stages:?}");
                    assert_eq!(snapshots(bed).len(), stay);
                    bed.destroy(seat).await;
                }
            },
        );
    });
}

/// Puts nonsense into every page of a guest's memory that is not zero.
fn overwrite(memory: &Path) {
    let file = File::options().read(true).write(true).open(memory).unwrap();
    let (nonsense, mut page) = ([0xff; 4096], [0; 4096]);
    let mut written = 0;
    for at in (0..file.metadata().unwrap().len()).step_by(page.len()) {
        file.read_exact_at(&mut page, at).unwrap();
        if page != [0; 4096] {
            file.write_all_at(&nonsense, at).unwrap();
            written += 1;
        }
    }
    assert!(written > 1000, "{written} pages were not zero");
}

/// The snapshots that are whole.
fn snapshots(bed: &Bed) -> Vec<PathBuf> {
    let all = below(&bed.host.folder.path().join("state/microvm/snapshots"));
    all.into_iter().filter(|path| path.ends_with("snapshot.json")).collect()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn one_kind_goes_on_from_a_file_that_was_cut_while_another_kind_is_made() {
    isolated!(one_kind_goes_on_from_a_file_that_was_cut_while_another_kind_is_made, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let first = bed.spec(&bed.seat(1), "latest");
                stages(bed, &first).await;
                // What was opened is not the file any more.
                let memory = snapshots(bed).remove(0).with_file_name("memory");
                File::options().write(true).open(&memory).unwrap().set_len(4096).unwrap();
                let wishes: Vec<_> = [(2, "latest"), (3, "latest"), (4, "other"), (5, "other")]
                    .map(|(number, tag)| bed.spec(&bed.seat(number), tag))
                    .into();
                let all = futures_util::future::join_all(wishes.iter().map(|wish| stages(bed, wish))).await;
                for (stages, wish) in all.iter().zip(&wishes) {
                    assert!(!stages.contains(&Stage::Start), "{}: {stages:?}", wish.seat);
                }
                assert!(all[2..].iter().any(|stages| stages.contains(&Stage::Snapshot)), "{all:?}");
                assert_eq!(snapshots(bed).len(), 2);
                // Whoever opens the file sees that it was cut, and another one is made; those that run do not notice.
                bed.leave();
                bed.serve().await;
                bed.destroy(&first.seat).await;
                let again = stages(bed, &first).await;
                assert!(again.contains(&Stage::Snapshot) && !again.contains(&Stage::Start), "{again:?}");
                assert_eq!(fs::metadata(&memory).unwrap().len(), 128 << 20);
                for wish in wishes.iter().chain([&first]) {
                    bed.answers(&bed.until_running(&wish.seat).await);
                    bed.destroy(&wish.seat).await;
                }
            },
        );
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn where_there_is_no_room_for_a_snapshot_seats_boot_and_nothing_of_it_is_left() {
    isolated!(where_there_is_no_room_for_a_snapshot_seats_boot_and_nothing_of_it_is_left, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                // A disk of its own, which goes with this test's mounts. It has room, as far as anybody tells, and none for the last file of a snapshot.
                let folder = bed.host.folder.path().join("state/microvm/snapshots");
                mount(&["-t", "tmpfs", "-o", "size=512m,nr_inodes=4,mode=0700", "tmpfs"], &folder);
                let (first, second) = (bed.spec(&bed.seat(1), "latest"), bed.spec(&bed.seat(2), "latest"));
                for wish in [&first, &second] {
                    let stages = stages(bed, wish).await;
                    assert!(stages.contains(&Stage::Start), "{stages:?}");
                    // Only the first one tried.
                    assert_eq!(stages.contains(&Stage::Snapshot), wish.seat == first.seat, "{stages:?}");
                }
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{:?}", below(&folder));
                // The next service sees that there is none, and does not try.
                mount(&["-o", "remount,size=8m,nr_inodes=1000"], &folder);
                bed.leave();
                bed.serve().await;
                bed.answers(&bed.until_running(&second.seat).await);
                bed.destroy(&first.seat).await;
                let refused = stages(bed, &first).await;
                assert!(refused.contains(&Stage::Start), "{refused:?}");
                // One boot is in its console, and not two.
                let console = bed.console(&first.seat);
                assert_eq!(console.matches(BOOTED).count(), 1, "{console}");
                // The one after that finds room.
                mount(&["-o", "remount,size=512m"], &folder);
                bed.leave();
                bed.serve().await;
                bed.answers(&bed.until_running(&second.seat).await);
                bed.destroy(&first.seat).await;
                let again = stages(bed, &first).await;
                assert!(!again.contains(&Stage::Start), "{again:?}");
                bed.destroy(&first.seat).await;
                bed.destroy(&second.seat).await;
                // What the service has open goes with it.
                bed.leave();
                let done = Command::new("umount").arg("--lazy").arg(&folder).status().unwrap();
                assert!(done.success());
            },
        );
    });
}

fn mount(options: &[&str], at: &Path) {
    let done = Command::new("mount").args(options).arg(at).status().unwrap();
    assert!(done.success(), "{options:?}");
}
