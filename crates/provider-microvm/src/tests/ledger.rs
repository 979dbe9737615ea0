//! What is given out once on a host: memory, users, and what seats have whose records cannot be read.

use seats::{DataPolicy, Limits, Provider as _, Scope, SeatRef, SeatSpec, Status};

use super::bench::{Bench, create, seat, spec, starts, up};
use crate::vmm::{How, Jailer, MonitorKind};
use crate::{MicrovmConfig, SnapshotUse, Way};

/// The user of a seat's VM; nothing where it is the service's own.
fn user(bench: &Bench, seat: &SeatRef) -> Option<u64> {
    let record = std::fs::read(bench.seat_folder(seat).join("seat.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&record).unwrap()["uid"].as_u64()
}

#[tokio::test]
async fn a_host_without_room_is_said_with_figures() {
    let bench = Bench::new();
    let provider = bench.provider();
    let refused = async |wish: &SeatSpec| create(&provider, wish).await.unwrap_err();
    bench.world.state().memory_mib = 1000;
    for number in 1..=3 {
        create(&provider, &spec(seat("rust-101", number))).await.unwrap();
    }
    let error = refused(&spec(seat("rust-101", 4))).await;
    assert_eq!(error.code(), "host_full");
    for figure in ["320 MiB", "960 of 1000 MiB", "3 seats", "memory_percent is 100"] {
        assert!(error.to_string().contains(figure), "{error}");
    }
    let small = Limits { memory_mib: 63, ..spec(seat("rust-101", 4)).limits };
    let error = refused(&SeatSpec { limits: small, ..spec(seat("rust-101", 4)) }).await;
    assert!(error.code() == "refused" && error.to_string().contains("63"), "{error}");
    bench.world.state().memory_mib = 100_000;
    bench.world.state().free_bytes = 1 << 20;
    let error = refused(&spec(seat("rust-101", 4))).await;
    assert!(error.code() == "host_full" && error.to_string().contains("1 MiB left"), "{error}");
    provider.destroy_workshop(&"rust-101".parse().unwrap(), DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

/// Each of them asks for its part of what is promised, and what does not fit is turned away before it has anything.
#[tokio::test]
async fn of_a_class_that_does_not_fit_the_seats_that_fit_run() {
    let bench = Bench::new();
    let provider = bench.provider();
    // Three of 320 MiB, as the first of another workshop is there already.
    bench.world.state().memory_mib = 4 * 320 + 319;
    up(&provider, &spec(seat("go-101", 1))).await;
    let class = |numbers: std::ops::RangeInclusive<u64>| {
        let wishes: Vec<_> = numbers.map(|number| spec(seat("rust-101", number))).collect();
        let provider = provider.clone();
        async move {
            let each = wishes.iter().map(|wish| create(&provider, wish));
            futures_util::future::join_all(each).await
        }
    };
    bench.world.script(None);
    let made = class(1..=8).await;
    assert_eq!(starts(&bench), 3, "a VM was started for a seat that does not fit");
    let (fits, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    for created in fits {
        let seen = provider.settle(&created.unwrap().instance, super::bench::PATIENCE).await.unwrap();
        assert_eq!((seen.status, &seen.reason), (Status::Running, &None));
    }
    assert_eq!(refused.len(), 5);
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.code(), "host_full");
        for figure in ["seat rust-101/", "320 MiB", "1280 of 1599 MiB", "4 seats"] {
            assert!(error.to_string().contains(figure), "{error}");
        }
    }
    // Those that did not fit have nothing, neither here nor in the kernel.
    let listed = provider.list(&Scope::All).await.unwrap();
    assert_eq!(listed.len(), 4, "{listed:?}");
    let vms = bench.world.objects().into_iter().filter(|object| !object.starts_with("bridge"));
    assert_eq!(vms.count(), 2 * 4);
    let folders = std::fs::read_dir(bench.state().join("workshops/rust-101")).unwrap();
    let folders = folders.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
    assert_eq!(folders.count(), 3);

    // The same class again, with more room: whoever runs stays, and of the others as many come up as there is room for.
    bench.world.state().memory_mib = 6 * 320;
    bench.world.script(None);
    let again = class(1..=8).await;
    assert_eq!((starts(&bench), again.iter().filter(|one| one.is_ok()).count()), (2, 5));
    for workshop in ["rust-101", "go-101"] {
        provider.destroy_workshop(&workshop.parse().unwrap(), DataPolicy::Remove).await.unwrap();
    }
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn what_a_seats_monitor_takes_stays_what_it_was_when_another_is_chosen() {
    let mut bench = Bench::new();
    bench.world.state().memory_mib = 500;
    create(&bench.provider(), &spec(seat("rust-101", 1))).await.unwrap();
    // Two would fit if the first took no more than this.
    bench.config.overhead_mib = Some(100);
    let error = create(&bench.provider(), &spec(seat("rust-101", 2))).await.unwrap_err();
    for figure in ["needs 228 MiB", "320 of 500 MiB", "1 seats"] {
        assert!(error.to_string().contains(figure), "{error}");
    }
}

#[tokio::test]
async fn a_seat_that_is_started_again_has_a_user_as_it_is_configured_then() {
    let mut bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    let removals =
        |bench: &Bench| bench.world.state().steps.iter().filter(|step| step.starts_with("remove ")).count();
    let jailed = MicrovmConfig { monitor: MonitorKind::Firecracker, first_uid: Some(7000), ..bench.config };
    let plain = MicrovmConfig { jailer: Jailer::Off, ..jailed.clone() };
    for (config, expected, anew) in
        [(&plain, None, 0), (&jailed, Some(7000), 1), (&jailed, Some(7000), 1), (&plain, None, 2)]
    {
        bench.config = config.clone();
        up(&bench.provider(), &wish).await;
        assert_eq!((user(&bench, &wish.seat), removals(&bench)), (expected, anew));
        bench.machine(&wish.seat).end(How::Signal(9));
    }
}

#[tokio::test]
async fn the_last_user_of_the_range_is_the_last_seats() {
    let mut bench = Bench::new();
    bench.config.first_uid = Some(u32::MAX - 1);
    let provider = bench.provider();
    create(&provider, &spec(seat("rust-101", 1))).await.unwrap();
    let error = create(&provider, &spec(seat("rust-101", 2))).await.unwrap_err();
    assert!(
        error.code() == "host_full" && error.to_string().contains("microvm.first_uid 4294967294"),
        "{error}"
    );
    provider.destroy(&seat("rust-101", 1), DataPolicy::Remove).await.unwrap();
    create(&provider, &spec(seat("rust-101", 2))).await.unwrap();
}

#[tokio::test]
async fn what_the_vm_of_a_seat_has_whose_record_cannot_be_read_is_not_given_out_again() {
    let mut bench = Bench::new();
    for monitor in [MonitorKind::Qemu, MonitorKind::Firecracker] {
        bench.config = MicrovmConfig { monitor, first_uid: Some(7000), ..bench.config };
        bench.world.state().memory_mib = 1000;
        let provider = bench.provider();
        let (damaged, newer) = (seat("rust-101", 1), seat("rust-101", 2));
        for seat in [&damaged, &newer] {
            up(&provider, &spec(seat.clone())).await;
        }
        std::fs::write(bench.seat_folder(&damaged).join("seat.json"), "{").unwrap();
        std::fs::write(bench.seat_folder(&newer).join("seat.json"), "{\"schema\": 99}").unwrap();
        // Its addresses are those of another workshop, and users and memory are the host's.
        let other = seat("go-101", 1);
        up(&provider, &spec(other.clone())).await;
        assert_eq!(user(&bench, &other), Some(7002));
        let error = create(&provider, &spec(seat("go-101", 2))).await.unwrap_err();
        assert!(error.code() == "host_full" && error.to_string().contains("960 of 1000 MiB"), "{error}");
        // What a VM that is not known of has cannot be told at all, and its workshop waits.
        std::fs::write(bench.seat_folder(&newer).join("run/vmm.json"), "{").unwrap();
        provider.destroy(&damaged, DataPolicy::Remove).await.unwrap();
        let error = create(&provider, &spec(seat("rust-101", 3))).await.unwrap_err();
        assert!(error.to_string().contains("the record of seat rust-101/2 cannot be read"), "{error}");
        for workshop in ["rust-101", "go-101"] {
            provider.destroy_workshop(&workshop.parse().unwrap(), DataPolicy::Remove).await.unwrap();
        }
        assert_eq!(bench.left(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_user_with_a_process_of_somebody_else_is_no_seats() {
    let mut bench = Bench::new();
    bench.world.state().users = [6999, 7000, 7002].into();
    for monitor in [MonitorKind::Qemu, MonitorKind::Firecracker] {
        bench.config = MicrovmConfig { monitor, first_uid: Some(7000), ..bench.config };
        let provider = bench.provider();
        let seats = [1, 2].map(|number| seat("rust-101", number));
        for (seat, expected) in seats.iter().zip([7001, 7003]) {
            up(&provider, &spec(seat.clone())).await;
            assert_eq!(user(&bench, seat), Some(expected));
        }
        // One that is started again keeps its user, unless somebody else has a process of that user by then.
        for (strangers, expected) in [([6999, 7000], 7001), ([7000, 7001], 7002)] {
            bench.world.state().users = strangers.into();
            bench.machine(&seats[0]).end(How::Code(0));
            up(&provider, &spec(seats[0].clone())).await;
            assert_eq!(user(&bench, &seats[0]), Some(expected));
        }
        provider.destroy_workshop(&seats[0].workshop, DataPolicy::Remove).await.unwrap();
        bench.world.state().users = [6999, 7000, 7002].into();
    }
}

#[tokio::test]
async fn a_user_that_somebody_else_takes_at_the_last_moment_is_given_up_for_another() {
    let mut bench = Bench::new();
    for snapshot in [SnapshotUse::Off, SnapshotUse::Auto] {
        bench.config = MicrovmConfig {
            monitor: MonitorKind::Firecracker,
            first_uid: Some(7000),
            snapshot,
            ..bench.config
        };
        let provider = bench.provider();
        let wish = spec(seat("rust-101", 1));
        let late = |users: &[u32]| {
            let mut state = bench.world.state();
            state.users.clear();
            state.latecomers = users.iter().copied().collect();
        };
        late(&[7000, 7001]);
        up(&provider, &wish).await;
        assert_eq!(user(&bench, &wish.seat), Some(7002));
        // One that is started again as well, with its data.
        late(&[7002]);
        bench.machine(&wish.seat).end(How::Signal(9));
        up(&provider, &wish).await;
        assert_eq!(user(&bench, &wish.seat), Some(7000));
        // It is no reason to boot.
        let restored = if snapshot == SnapshotUse::Auto { 2 } else { 0 };
        assert_eq!(provider.starts().of(Way::Restored), restored);
        assert_eq!(provider.starts().of(Way::BootedInstead), 0);
        provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
        assert_eq!(bench.left(), [] as [String; 0]);
        // Somebody who takes every user is not run after for ever.
        late(&(7000..7100).collect::<Vec<_>>());
        let error = create(&provider, &wish).await.unwrap_err();
        assert!(error.to_string().contains("user 7003 has a process already"), "{error}");
        late(&[]);
        assert_eq!(bench.left(), [] as [String; 0]);
    }
}
