//! Seats that go on from a snapshot, and what happens when that cannot be.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seats::{DataPolicy, Provider as _, Scope, SeatSpec, Stage, Timeline};

use super::bench::{Bench, PATIENCE, create, seat, spec, up};
use crate::edges::scripted::{Fault, What};
use crate::vmm::How;
use crate::{SnapshotUse, Way};

pub(super) fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.config.snapshot = SnapshotUse::Auto;
    bench
}

pub(super) fn steps(bench: &Bench) -> Vec<String> {
    let state = bench.world.state();
    let of_vms = ["start", "boot to save", "restore", "clear"];
    state.steps.iter().filter(|step| of_vms.contains(&step.as_str())).cloned().collect()
}

/// The snapshots on the disk.
pub(super) fn snapshots(bench: &Bench) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(bench.state().join("snapshots")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_first_seat_makes_a_snapshot_and_all_go_on_from_it() {
    let bench = bench();
    let provider = bench.provider();
    let (first, second) = (spec(seat("rust-101", 1)), spec(seat("rust-101", 2)));
    let timeline = Timeline::default();
    let made = provider.create(&first, &timeline).await.unwrap();
    timeline.finish();
    let stages: Vec<_> = timeline.timings().iter().map(|timing| timing.stage).collect();
    let from = stages.iter().position(|stage| *stage == Stage::Create).unwrap();
    let way = [Stage::Create, Stage::Restore, Stage::Snapshot, Stage::Restore, Stage::Inspect];
    assert_eq!(stages[from..], way);
    provider.settle(&made.instance, PATIENCE).await.unwrap();
    assert_eq!(steps(&bench), ["boot to save", "clear", "restore"]);

    bench.world.script(None);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = now();
    up(&provider, &second).await;
    assert_eq!(steps(&bench), ["restore"]);
    // Its guest's clock stood still since it was saved, and it is told the time with everything else.
    let clock = bench.machine(&second.seat).config.lock().unwrap().as_ref().unwrap().clock_unix_ns.unwrap();
    assert!((before..=now()).contains(&Duration::from_nanos(clock)));
    // Another service reads it from the disk.
    provider.destroy(&second.seat, DataPolicy::Remove).await.unwrap();
    bench.world.script(None);
    up(&bench.provider(), &second).await;
    assert_eq!(steps(&bench), ["restore"]);
    assert_eq!(snapshots(&bench).len(), 1);
}

#[tokio::test]
async fn a_class_makes_one_snapshot_and_another_size_makes_its_own() {
    let bench = bench();
    let provider = bench.provider();
    let mut wishes: Vec<_> = (1..=4).map(|number| spec(seat("rust-101", number))).collect();
    wishes.push(spec(seat("rust-102", 1)));
    wishes[4].limits.cpu_millis = 2000;
    futures_util::future::join_all(wishes.iter().map(|wish| up(&provider, wish))).await;
    assert_eq!(
        [Way::Booted, Way::Restored, Way::BootedInstead].map(|way| provider.starts().of(way)),
        [0, 5, 0]
    );
    let all = steps(&bench);
    let count = |what: &str| all.iter().filter(|step| *step == what).count();
    assert_eq!((count("boot to save"), count("restore"), count("start")), (2, 5, 0), "{all:?}");
    assert_eq!(snapshots(&bench).len(), 2);
}

#[tokio::test]
async fn a_guest_that_is_saved_has_the_disks_of_nobody() {
    let bench = bench();
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    let folder = bench.seat_folder(&wish.seat);
    let nobodys = folder.join("nobody");
    let saved = bench.world.state().saved_drives.clone();
    let own = bench.machine(&wish.seat);
    for (saved, own) in saved.iter().zip(&own.drives) {
        assert_eq!((&saved.serial, saved.read_only), (&own.serial, own.read_only));
        assert_eq!(saved.path.starts_with(&nobodys), !own.read_only, "{saved:?}");
        assert_eq!(saved.path == own.path, own.read_only, "{saved:?}");
    }
    assert!(saved.len() == 3 && !nobodys.exists());
    // A service that was killed while a seat started again leaves them to the next one.
    bench.world.reboot();
    std::fs::create_dir(&nobodys).unwrap();
    bench.provider().start().await.unwrap();
    assert!(!nobodys.exists());
}

#[tokio::test]
async fn a_seat_that_is_to_boot_boots() {
    let mut bench = bench();
    bench.config.snapshot = SnapshotUse::Off;
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    assert_eq!(steps(&bench), ["start"]);
    assert!(snapshots(&bench).is_empty());
}

#[rstest::rstest]
#[case(What::FailsBefore)]
#[case(What::FailsAfter)]
#[tokio::test]
async fn whatever_fails_of_a_snapshot_the_seat_boots_and_nothing_is_left(#[case] what: What) {
    let mut booted = Vec::new();
    for at in 0..40 {
        let bench = bench();
        let provider = bench.provider();
        let wish = spec(seat("rust-101", 1));
        bench.world.script(Some(Fault { at, what }));
        let timeline = Timeline::default();
        let created = provider.create(&wish, &timeline).await;
        let step = bench.world.state().steps.get(at).cloned();
        let started = steps(&bench).contains(&"start".to_owned());
        bench.world.script(None);
        let Some(step) = step else { break };
        match created {
            Err(error) => {
                assert!(error.to_string().contains("on purpose"), "{step}: {error}");
                assert_eq!(bench.left(), [] as [String; 0], "after {step} failed");
            }
            Ok(created) => {
                assert!(started, "{step}");
                assert!(timeline.timings().iter().any(|timing| timing.stage == Stage::Start), "{step}");
                provider.settle(&created.instance, PATIENCE).await.unwrap();
                assert!(!bench.seat_folder(&wish.seat).join("nobody").exists(), "{step}");
                assert_eq!(provider.starts().of(Way::BootedInstead), 1, "{step}");
                booted.push(step);
                // The next one does not wait for the same again.
                up(&provider, &spec(seat("rust-101", 2))).await;
                let again = steps(&bench);
                assert!(!again.contains(&"boot to save".to_owned()), "{again:?}");
                for number in [1, 2] {
                    provider.destroy(&seat("rust-101", number), DataPolicy::Remove).await.unwrap();
                }
                assert_eq!(bench.left(), [] as [String; 0]);
            }
        }
    }
    assert_eq!(booted, ["boot to save", "clear", "restore", "configure"]);
}

#[tokio::test]
async fn a_guest_without_a_timer_is_not_saved() {
    let bench = bench();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    bench.world.state().timerless = 1;
    up(&provider, &wish).await;
    assert_eq!(steps(&bench), ["boot to save", "clear", "boot to save", "clear", "restore"]);
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);

    // Not more than twice; the seat boots, and has as many tries of its own.
    let bench = self::bench();
    let provider = bench.provider();
    bench.world.state().timerless = 3;
    up(&provider, &wish).await;
    let boots: Vec<_> = steps(&bench).into_iter().filter(|step| step != "clear").collect();
    assert_eq!(boots, ["boot to save", "boot to save", "start", "start"]);
    assert!(snapshots(&bench).is_empty());
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_guest_may_take_longer_to_be_written_down_than_to_boot() {
    let mut bench = bench();
    bench.config.start_timeout = Duration::from_secs(2);
    bench.world.state().saving_takes = bench.config.start_timeout * 2;
    up(&bench.provider(), &spec(seat("rust-101", 1))).await;
    assert_eq!(steps(&bench), ["boot to save", "clear", "restore"]);
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_is_made_anew() {
    let bench = bench();
    let wish = spec(seat("rust-101", 1));
    let provider = bench.provider();
    up(&provider, &wish).await;
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    let folder = snapshots(&bench).remove(0);
    let cut = std::fs::File::options().write(true).open(folder.join("memory")).unwrap();
    cut.set_len(4096).unwrap();
    // What is open is not the file.
    bench.world.script(None);
    up(&provider, &wish).await;
    assert_eq!(steps(&bench), ["restore"]);
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    bench.world.script(None);
    up(&bench.provider(), &wish).await;
    assert_eq!(steps(&bench), ["boot to save", "clear", "restore"]);
    assert_eq!(snapshots(&bench), [folder]);
}

#[tokio::test]
async fn where_there_is_no_memory_for_a_snapshot_seats_boot() {
    let bench = bench();
    // The seat with its monitor, and a little.
    bench.world.state().memory_mib = 128 + 192 + 100;
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    assert_eq!(steps(&bench).last().unwrap(), "start");
    assert!(snapshots(&bench).is_empty());
    // A moment later there is.
    bench.world.state().memory_mib = 2 * (128 + 192) + 128;
    bench.world.script(None);
    up(&provider, &spec(seat("rust-101", 2))).await;
    assert_eq!(steps(&bench), ["boot to save", "clear", "restore"]);
    // What a snapshot has is not promised twice.
    let bench = self::bench();
    bench.world.state().memory_mib = 2 * (128 + 192);
    let provider = bench.provider();
    up(&provider, &wish).await;
    assert_eq!(steps(&bench), ["boot to save", "clear", "restore"]);
    let why = create(&provider, &spec(seat("rust-101", 2))).await.unwrap_err().to_string();
    assert!(why.contains("promised to 1 seats, and 1 MiB to snapshots"), "{why}");
}

#[tokio::test]
async fn a_snapshot_that_nobody_goes_on_from_gives_its_memory_to_whoever_needs_it() {
    let bench = bench();
    // A seat with its monitor, and a snapshot that is made; one that is open has 1 MiB here.
    let (seats_mib, makings_mib) = (128 + 192, 128);
    let memory_mib = |mib| bench.world.state().memory_mib = mib;
    memory_mib(seats_mib + makings_mib);
    let provider = bench.provider();
    let kinds = [1, 2, 3].map(|cpus| {
        let mut wish = spec(seat("rust-101", 1));
        wish.limits.cpu_millis = cpus * 1000;
        wish
    });
    let way = async |wish: &SeatSpec| {
        bench.world.script(None);
        up(&provider, wish).await;
        provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
        let steps = steps(&bench);
        steps[..steps.len() - 1].to_vec()
    };
    assert_eq!(way(&kinds[0]).await, ["boot to save", "clear", "restore"]);
    // A seat has it.
    memory_mib(seats_mib);
    assert_eq!(way(&kinds[1]).await, ["clear", "start"]);
    // It is still on the disk, and is opened again.
    memory_mib(seats_mib + makings_mib);
    assert_eq!(way(&kinds[0]).await, ["restore"]);
    // Another snapshot has it.
    assert_eq!(way(&kinds[2]).await, ["boot to save", "clear", "restore"]);
    assert_eq!(snapshots(&bench).len(), 2);
}

#[tokio::test]
async fn memory_is_promised_to_a_snapshot_while_it_is_made() {
    let wish = spec(seat("rust-101", 1));
    let at = {
        let bench = bench();
        up(&bench.provider(), &wish).await;
        let state = bench.world.state();
        state.steps.iter().position(|step| step == "boot to save").unwrap()
    };
    let bench = bench();
    // Two seats, the memory of one snapshot, and not that of another.
    bench.world.state().memory_mib = 2 * (128 + 192) + 128 + 100;
    let provider = bench.provider();
    bench.world.script(Some(Fault { at, what: What::HangsAfter }));
    let making = tokio::spawn({
        let (provider, wish) = (provider.clone(), wish.clone());
        async move { create(&provider, &wish).await.map(drop) }
    });
    bench.world.stuck().await;
    let mut other = spec(seat("rust-101", 2));
    other.limits.cpu_millis = 2000;
    up(&provider, &other).await;
    let all = steps(&bench);
    assert_eq!(all.iter().filter(|step| *step == "boot to save").count(), 1, "{all:?}");
    assert_eq!(all.last().unwrap(), "start");
    // Nor is it promised to a seat.
    let why = create(&provider, &spec(seat("rust-101", 3))).await.unwrap_err().to_string();
    assert!(why.contains("promised to 2 seats, and 128 MiB to snapshots"), "{why}");
    making.abort();
}

#[tokio::test]
async fn where_there_is_no_room_on_the_disk_for_a_snapshot_none_is_begun_and_seats_boot() {
    // What is kept for the seats that live, what the monitor writes down, and the copy of that.
    let enough_mib = 1024 + 2 * 128;
    for (free_mib, way) in
        [(enough_mib - 1, &["clear", "start"][..]), (enough_mib, &["boot to save", "clear", "restore"][..])]
    {
        let mut bench = bench();
        bench.config.least_free_mib = 1024;
        bench.world.state().free_bytes = free_mib << 20;
        let provider = bench.provider();
        up(&provider, &spec(seat("rust-101", 1))).await;
        assert_eq!(steps(&bench), way, "{free_mib}");
        // One that is there takes no more.
        bench.world.state().free_bytes = 1024 << 20;
        bench.world.script(None);
        up(&provider, &spec(seat("rust-101", 2))).await;
        assert_eq!(steps(&bench).last(), way.last().map(|step| (*step).to_owned()).as_ref());
    }
}

#[tokio::test]
async fn memory_under_live_seats_stays_promised_whoever_opened_it() {
    let bench = bench();
    bench.world.state().memory_mib = 2 * (128 + 192);
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    // The next service has opened nothing, and the seat's memory lies on what the first had.
    let next = bench.provider();
    let other = spec(seat("rust-101", 2));
    let why = create(&next, &other).await.unwrap_err().to_string();
    assert!(why.contains("promised to 1 seats, and 1 MiB to snapshots"), "{why}");
    // With the host it went.
    bench.world.reboot();
    bench.world.script(None);
    up(&next, &other).await;
    assert_eq!(steps(&bench).last().unwrap(), "start", "there is no memory to open it again");
}

#[tokio::test]
async fn memory_under_seats_that_have_stopped_is_not_promised_by_the_next_service() {
    let bench = bench();
    bench.world.state().memory_mib = 2 * (128 + 192);
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    bench.machine(&wish.seat).end(How::Signal(9));
    let next = bench.provider();
    next.start().await.unwrap();
    // Both seats fit, and not a mebibyte more.
    bench.world.script(None);
    up(&next, &spec(seat("rust-101", 2))).await;
    assert_eq!(steps(&bench).last().unwrap(), "start");
}

#[tokio::test]
async fn a_record_tells_which_way_its_seat_came_up() {
    let mut bench = bench();
    let wish = spec(seat("rust-101", 1));
    let provider = bench.provider();
    up(&provider, &wish).await;
    let record = || {
        let text = std::fs::read(bench.seat_folder(&wish.seat).join("seat.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()
    };
    let name = snapshots(&bench).remove(0);
    assert_eq!(record()["restored"]["snapshot"], name.file_name().unwrap().to_str().unwrap());
    // Started again in another way.
    bench.world.reboot();
    bench.config.snapshot = SnapshotUse::Off;
    up(&bench.provider(), &wish).await;
    let record = std::fs::read(bench.seat_folder(&wish.seat).join("seat.json")).unwrap();
    assert!(!String::from_utf8_lossy(&record).contains("restored"));
}

#[tokio::test]
async fn a_service_that_starts_removes_what_a_killed_one_left_of_snapshots() {
    let mut bench = bench();
    up(&bench.provider(), &spec(seat("rust-101", 1))).await;
    let whole = snapshots(&bench).remove(0);
    bench.config.snapshot = SnapshotUse::Off;
    let folder = bench.state().join("snapshots");
    for name in ["aa.new", "bb.old", "cc.new"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("memory"), b"half").unwrap();
    }
    // Somebody else makes this one.
    let others = crate::locks::Locks::default();
    let making = others.turn(bench.state().join("locks/.snapshot.cc")).await.unwrap();
    bench.provider().start().await.unwrap();
    let mut left = snapshots(&bench);
    left.sort();
    let mut wanted = [whole.clone(), folder.join("cc.new")];
    wanted.sort();
    assert_eq!(left, wanted);
    drop(making);
    bench.provider().start().await.unwrap();
    assert_eq!(snapshots(&bench), [whole]);
}

#[tokio::test]
async fn the_last_four_snapshots_are_kept() {
    let bench = bench();
    let provider = bench.provider();
    for (number, cpu_millis) in (1..).zip([1000, 2000, 3000, 4000, 5000, 6000]) {
        let mut wish = spec(seat("rust-101", number));
        wish.limits.cpu_millis = cpu_millis;
        up(&provider, &wish).await;
    }
    assert_eq!(snapshots(&bench).len(), 4);
}

#[rstest::rstest]
#[case(What::HangsBefore)]
#[case(What::HangsAfter)]
fn a_service_that_is_killed_while_a_snapshot_is_made_or_used_leaves_nothing(#[case] what: What) {
    let service =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut killed = Vec::new();
    for at in 0..40 {
        let bench = bench();
        let wish = spec(seat("rust-101", 1));
        let first = service();
        first.block_on(async {
            let provider = bench.provider();
            provider.start().await.unwrap();
            bench.world.script(Some(Fault { at, what }));
            let (world, wish) = (bench.world.clone(), wish.clone());
            let work = tokio::spawn(async move { create(&provider, &wish).await.map(drop) });
            tokio::select! {
                done = work => done.unwrap().unwrap(),
                () = world.stuck() => {}
            }
        });
        let step = bench.world.state().steps.get(at).cloned();
        // As a kill does: every task ends where it is, and every lock is let go.
        first.shutdown_timeout(PATIENCE);
        bench.world.script(None);
        let Some(step) = step else { break };
        service().block_on(async {
            let provider = bench.provider();
            provider.start().await.unwrap();
            if what == What::HangsBefore || step != "configure" {
                assert!(provider.list(&Scope::All).await.unwrap().is_empty(), "{step}");
            }
            up(&provider, &wish).await;
            assert!(steps(&bench).ends_with(&["restore".to_owned()]), "{step}");
            let there = snapshots(&bench);
            assert!(there.len() == 1 && there[0].join("snapshot.json").exists(), "{step}: {there:?}");
            provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
            assert_eq!(bench.left(), [] as [String; 0], "{step}");
        });
        killed.push(step);
    }
    assert_eq!(killed[3..], ["boot to save", "clear", "restore", "configure"]);
}
