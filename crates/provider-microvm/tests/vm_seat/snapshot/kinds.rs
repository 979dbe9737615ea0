//! Snapshots of two kinds at a time.

use std::fs::{self, File};
use std::time::Duration;

use provider_microvm::SnapshotUse;
use rustix::process::{Pid, Signal, kill_process};
use seats::Stage;

use super::{snapshots, stages};
use crate::bed::{run_with, until};
use crate::isolated;

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

/// Lets a monitor stand still nearly all the time until something is done, so that its guest is not ready before; now and then it answers whoever asks it for something.
async fn slowed<T>(monitor: u32, meanwhile: impl Future<Output = T>) -> T {
    let pid = Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap();
    let signal = |signal| kill_process(pid, signal).unwrap();
    let standing = async {
        loop {
            signal(Signal::STOP);
            tokio::time::sleep(Duration::from_secs(5)).await;
            signal(Signal::CONT);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::select! {
        done = meanwhile => done,
        () = standing => unreachable!("it has no end"),
    };
    signal(Signal::CONT);
    done
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn one_kind_is_made_and_restored_while_another_one_is_made() {
    isolated!(one_kind_is_made_and_restored_while_another_one_is_made, || {
        run_with(
            &[],
            |config| config.snapshot = SnapshotUse::Auto,
            async |bed| {
                let (first, second) = (bed.spec(&bed.seat(1), "latest"), bed.spec(&bed.seat(2), "other"));
                let slow = async {
                    let stages = stages(bed, &second).await;
                    (stages, snapshots(bed).len())
                };
                let quick = async {
                    // The other one is being made.
                    until(async || bed.folder(&second.seat).join("run/vmm.json").exists()).await;
                    let restored = async { (stages(bed, &first).await, snapshots(bed).len()) };
                    slowed(bed.monitor(&second.seat), restored).await
                };
                // Neither is there when both begin; when the seat of the one is restored, the other one is not there yet.
                let ((slow, both), (quick, one)) = tokio::join!(slow, quick);
                for stages in [&slow, &quick] {
                    let is_so = |stage| stages.contains(&stage);
                    assert!(
                        is_so(Stage::Snapshot) && is_so(Stage::Restore) && !is_so(Stage::Start),
                        "{stages:?}"
                    );
                }
                assert_eq!((one, both), (1, 2));
                tokio::join!(bed.destroy(&first.seat), bed.destroy(&second.seat));
            },
        );
    });
}
