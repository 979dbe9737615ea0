//! Snapshots that are no good, and those for which there is no room: the seat boots.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use provider_microvm::SnapshotUse;
use seats::Stage;

use super::{snapshots, stages};
use crate::bed::{below, run_with};
use crate::isolated;

/// What an agent says once, when it is ready for its host (guest-agent).
const BOOTED: &str = "clarateach-agent: waits for the host on ";

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
