//! A seat from its making to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use seats::{
    DataPolicy, Disposition, ObjectKind, Provider as _, ProviderError, Scope, SpecDifference, Status,
};

use super::bench::{Bench, PATIENCE, create, seat, spec, up};
use crate::MicrovmConfig;
use crate::edges::scripted::ScriptedMachine;
use crate::vmm::{How, Throttle};

#[tokio::test]
async fn a_seat_is_made_found_and_removed() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 7));
    let made = create(&provider, &wish).await.unwrap();
    assert_eq!((made.disposition, made.instance.status), (Disposition::Made, Status::Starting));
    let seen = provider.settle(&made.instance, PATIENCE).await.unwrap();
    assert_eq!((seen.status, seen.reason.as_deref()), (Status::Running, None));
    assert_eq!(seen.id.as_deref().map(str::len), Some(64));
    assert_eq!(seen.endpoint(), Some("http://10.214.0.2:3001"));

    let config = bench.machine(&wish.seat).config.lock().unwrap().clone().unwrap();
    let variable = |name: &str| {
        let found = config.env.iter().find(|variable| variable.name == name).unwrap();
        (found.value.expose().to_owned(), found.secret)
    };
    assert_eq!(variable("MICROVM_MODE"), ("true".into(), false));
    assert_eq!(variable("SEAT"), ("7".into(), false));
    assert_eq!(variable("ANTHROPIC_API_KEY"), ("sk-canary-key".into(), true));
    assert_eq!((config.hostname.as_str(), config.limits.pids), ("seat-7", Some(64)));
    assert_eq!(config.network.unwrap().gateway.unwrap().to_string(), "10.214.0.1");

    let again = create(&provider, &wish).await.unwrap();
    assert_eq!((again.disposition, again.instance), (Disposition::Found, seen));
    let record = std::fs::read_to_string(bench.seat_folder(&wish.seat).join("seat.json")).unwrap();
    assert!(!record.contains("canary"), "{record}");

    let other = seats::SeatSpec { api_key: None, image: "other".parse().unwrap(), ..wish.clone() };
    match create(&provider, &other).await {
        Err(ProviderError::Conflict { differences, .. }) => {
            assert_eq!(differences, [SpecDifference::Image, SpecDifference::ApiKey]);
        }
        other => panic!("{other:?}"),
    }
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert!(provider.list(&Scope::All).await.unwrap().is_empty());
}

#[tokio::test]
async fn each_disk_has_the_limit_that_is_configured() {
    let mut bench = Bench::new();
    let limits = [None, Some(Throttle { bytes_per_second: 20 << 20, operations_per_second: 0 })];
    for (number, limit) in (1..).zip(limits) {
        bench.config.disk_throttle = limit;
        let wish = spec(seat("rust-101", number));
        up(&bench.provider(), &wish).await;
        let machine = bench.machine(&wish.seat);
        let drives = machine.drives.iter().map(|drive| (drive.serial.as_str(), drive.throttle));
        assert_eq!(drives.collect::<Vec<_>>(), ["root", "scratch", "data"].map(|serial| (serial, limit)));
    }
}

#[tokio::test]
async fn kept_data_comes_back_and_goes_with_a_later_removal() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let first = up(&provider, &wish).await;
    let data = bench.seat_folder(&wish.seat).join("data.img");
    mark(&data);
    bench.world.script(None);
    provider.destroy(&wish.seat, DataPolicy::Keep).await.unwrap();
    assert!(bench.world.state().steps.contains(&"stop".to_owned()), "it had time to write down");
    assert!(bench.world.objects().is_empty());
    assert!(provider.list(&Scope::All).await.unwrap().is_empty() && is_marked(&data));
    // Kept data stays kept, in whatever order it is asked for.
    provider.destroy(&wish.seat, DataPolicy::Keep).await.unwrap();
    provider.destroy_workshop(&wish.seat.workshop, DataPolicy::Keep).await.unwrap();
    assert!(is_marked(&data));
    let second = up(&provider, &wish).await;
    assert_ne!(second.id, first.id, "it is another creation");
    assert!(is_marked(&data));
    provider.destroy(&wish.seat, DataPolicy::Keep).await.unwrap();
    provider.destroy_workshop(&wish.seat.workshop, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_kept_seat_is_destroyed_beside_the_one_that_has_its_address_now() {
    let bench = Bench::new();
    let provider = bench.provider();
    let (kept, next) = (spec(seat("rust-101", 1)), spec(seat("rust-101", 2)));
    let first = up(&provider, &kept).await;
    provider.destroy(&kept.seat, DataPolicy::Keep).await.unwrap();
    let record = || provider.core.record(&kept.seat).unwrap().unwrap();
    assert!(record().is_kept() && record().address.ip.is_unspecified(), "{:?}", record());
    let second = up(&provider, &next).await;
    assert_eq!(second.ip, first.ip, "it is free");
    // As a service of before left it.
    let text = std::fs::read_to_string(bench.seat_folder(&kept.seat).join("seat.json")).unwrap();
    let old = text.replace("\"0.0.0.0\"", "\"10.214.0.2\"");
    assert_ne!(old, text);
    std::fs::write(bench.seat_folder(&kept.seat).join("seat.json"), old).unwrap();

    let guarded = bench.world.state().guarded.clone();
    assert_eq!(guarded.len(), 1, "{guarded:?}");
    provider.destroy(&kept.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.world.state().guarded, guarded);
    assert_eq!(provider.get(&next.seat).await.unwrap(), Some(second));
    provider.destroy(&next.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

pub(super) fn mark(data: &std::path::Path) {
    use std::os::unix::fs::FileExt as _;
    std::fs::File::options().write(true).open(data).unwrap().write_all_at(b"homework", 8 << 20).unwrap();
}

pub(super) fn is_marked(data: &std::path::Path) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut found = [0; 8];
    std::fs::File::open(data).unwrap().read_exact_at(&mut found, 8 << 20).unwrap();
    &found == b"homework"
}

#[tokio::test]
async fn a_seat_whose_vm_has_ended_is_started_again_with_its_data() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let first = up(&provider, &wish).await;
    let data = bench.seat_folder(&wish.seat).join("data.img");
    mark(&data);
    for (how, status, word) in [
        (How::Code(0), Status::Stopped, "switched the VM off"),
        (How::Signal(9), Status::Error, "killed by SIGKILL"),
    ] {
        bench.machine(&wish.seat).end(how);
        let seen = provider.get(&wish.seat).await.unwrap().unwrap();
        assert_eq!((seen.status, &seen.id), (status, &first.id));
        assert!(seen.reason.as_deref().unwrap().contains(word), "{seen:?}");
        let again = create(&provider, &wish).await.unwrap();
        assert_eq!((again.disposition, &again.instance.id), (Disposition::Found, &first.id));
        let seen = provider.settle(&again.instance, PATIENCE).await.unwrap();
        assert_eq!((seen.status, seen.ip), (Status::Running, first.ip));
        assert!(is_marked(&data));
    }
}

#[tokio::test]
async fn the_death_of_a_vm_is_seen_while_it_is_waited_for() {
    let mut bench = Bench::new();
    bench.config.start_timeout = Duration::from_secs(3600);
    bench.world.state().mute = true;
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let made = create(&provider, &wish).await.unwrap();
    let machine = bench.machine(&wish.seat);
    let (settled, ()) = tokio::join!(provider.settle(&made.instance, PATIENCE * 100), async {
        machine.end(How::Code(1));
    });
    let settled = settled.unwrap();
    assert_eq!(settled.status, Status::Error);
    assert!(settled.reason.unwrap().contains("gave up with exit code 1"));
}

#[tokio::test]
async fn a_dying_workload_is_told_as_of_a_container() {
    let bench = Bench::new();
    bench.world.state().mute = true;
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let made = create(&provider, &wish).await.unwrap();
    bench.machine(&wish.seat).tell(|health| {
        health.workload.state = guest_protocol::WorkloadState::BackOff;
        health.workload.last_exit = Some(guest_protocol::Exit::Code(3));
        health.workload.last_line = Some("boom: no licence file".into());
    });
    let seen = provider.settle(&made.instance, PATIENCE).await.unwrap();
    assert_eq!(seen.status, Status::Error);
    assert_eq!(seen.reason.unwrap(), "the workspace exits with code 3: boom: no licence file");
}

#[tokio::test]
async fn a_mute_workspace_is_an_error_when_its_time_is_over() {
    let mut bench = Bench::new();
    bench.config.start_timeout = Duration::from_millis(500);
    bench.world.state().mute = true;
    let provider = bench.provider();
    let made = create(&provider, &spec(seat("rust-101", 1))).await.unwrap();
    let settled = provider.settle(&made.instance, Duration::from_millis(500)).await.unwrap();
    assert_eq!(settled.status, Status::Error);
    assert!(settled.reason.unwrap().contains("port 3001 does not answer (connection refused) after 0 s"));
}

#[tokio::test]
async fn providers_over_one_folder_share_a_guest() {
    let bench = Bench::new();
    let (one, two) = (bench.provider(), bench.provider());
    let wish = spec(seat("rust-101", 1));
    let seen = up(&one, &wish).await;
    // The scripted agent takes no second link.
    assert_eq!(two.get(&wish.seat).await.unwrap(), Some(seen.clone()));
    assert_eq!(create(&two, &wish).await.unwrap().instance, seen);
    two.destroy(&wish.seat, DataPolicy::Keep).await.unwrap();
    assert!(one.get(&wish.seat).await.unwrap().is_none());
    let (first, second) = tokio::join!(create(&one, &wish), create(&two, &wish));
    let made = [first.unwrap(), second.unwrap()];
    assert_eq!(made[0].instance.id, made[1].instance.id);
    let new = made.iter().filter(|created| created.disposition == Disposition::Made).count();
    assert_eq!(new, 1);
}

/// Waits until somebody has set a guest's clock.
async fn is_set(machine: &ScriptedMachine) {
    tokio::time::timeout(PATIENCE, async {
        while *machine.behind_ms.lock().unwrap() != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("nobody set the clock");
}

#[tokio::test]
async fn a_clock_that_stood_still_is_set() {
    let mut bench = Bench::new();
    bench.config.clock_every = Duration::from_millis(20);
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let machine = bench.machine(&wish.seat);
    *machine.behind_ms.lock().unwrap() = 3_600_000;
    is_set(&machine).await;
}

#[tokio::test]
async fn a_clock_is_looked_at_when_a_service_comes_back() {
    let mut bench = Bench::new();
    bench.config.clock_every = Duration::from_secs(86_400);
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    let machine = bench.machine(&wish.seat);
    *machine.behind_ms.lock().unwrap() = 3_600_000;
    let provider = bench.provider();
    assert_eq!(provider.get(&wish.seat).await.unwrap().unwrap().status, Status::Running);
    is_set(&machine).await;
}

#[tokio::test]
async fn a_workload_that_was_started_again_has_to_answer_anew() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let machine = bench.machine(&wish.seat);
    machine.stuck.store(true, std::sync::atomic::Ordering::SeqCst);
    machine.tell(|health| {
        health.workload.restarts = 1;
        health.workload.last_exit = Some(guest_protocol::Exit::Code(3));
    });
    let record = provider.core.record(&wish.seat).unwrap().unwrap();
    let live = provider.core.live(&record).await.unwrap().unwrap();
    let is_told = |state: &crate::link::LinkState| {
        state.health.as_ref().is_some_and(|health| health.workload.restarts == 1)
    };
    live.link.watch().wait_for(is_told).await.unwrap();
    let seen = provider.get(&wish.seat).await.unwrap().unwrap();
    assert_eq!(seen.reason.as_deref(), Some("the workspace exits with code 3"), "{seen:?}");
}

#[tokio::test]
async fn addresses_are_used_to_the_last_and_given_back() {
    let mut bench = Bench::new();
    bench.config = MicrovmConfig {
        pool: "10.9.0.0/28".parse().unwrap(),
        subnet_prefix: Some(29),
        seat_bound: seats::SeatBound::new(5).unwrap(),
        ..bench.config
    };
    let provider = bench.provider();
    let all: Vec<_> = (1..=5).map(|number| spec(seat("one", number))).collect();
    let mut addresses = BTreeSet::new();
    for wish in &all {
        addresses.insert(create(&provider, wish).await.unwrap().instance.ip);
    }
    assert_eq!(addresses.len(), 5);
    let full = create(&provider, &spec(seat("one", 6))).await.unwrap_err();
    assert_eq!(full.code(), "addresses_exhausted", "{full}");
    create(&provider, &spec(seat("two", 1))).await.unwrap();
    let full = create(&provider, &spec(seat("three", 1))).await.unwrap_err();
    assert_eq!(full.code(), "addresses_exhausted", "{full}");
    provider.destroy(&all[2].seat, DataPolicy::Remove).await.unwrap();
    create(&provider, &spec(seat("one", 6))).await.unwrap();
    provider.destroy_workshop(&"two".parse().unwrap(), DataPolicy::Remove).await.unwrap();
    create(&provider, &spec(seat("three", 1))).await.unwrap();
    for workshop in ["one", "three"] {
        provider.destroy_workshop(&workshop.parse().unwrap(), DataPolicy::Remove).await.unwrap();
    }
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let folder = bench.seat_folder(&wish.seat);
    let foreign = async |kind: ObjectKind| {
        match create(&provider, &wish).await {
            Err(ProviderError::Foreign { kind: found, .. }) => assert_eq!(found, kind),
            other => panic!("{other:?}"),
        }
        provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
        provider.destroy_workshop(&wish.seat.workshop, DataPolicy::Remove).await.unwrap();
        assert!(provider.list(&Scope::All).await.unwrap().is_empty());
    };
    for (name, kind) in [("data.img", ObjectKind::Volume), ("notes.txt", ObjectKind::Instance)] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), "mine").unwrap();
        foreign(kind).await;
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), "mine");
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
    bench.world.state().bridges.insert("ctb-rust-101".into(), None);
    foreign(ObjectKind::Network).await;
    bench.world.state().bridges.clear();
    bench.world.state().taps.insert("ctt-rust-101-1".into(), None);
    foreign(ObjectKind::Instance).await;
    assert_eq!(bench.left(), ["tap ctt-rust-101-1"]);
    bench.world.state().taps.clear();
    up(&provider, &wish).await;
}
