//! Bad input, and hosts that are not as they should be.

use std::time::Duration;

use seats::{DataPolicy, Limits, Provider as _, Scope, SeatSpec, Status};

use super::bench::{Bench, archive, create, seat, spec, starts, up};
use crate::vmm::{How, MonitorKind};
use crate::{MicrovmConfig, StartError, StateError};

#[tokio::test]
async fn more_processors_than_a_monitor_has_are_refused_before_anything_is_made() {
    let mut bench = Bench::new();
    let wish = |number, cpu_millis| {
        let wish = spec(seat("rust-101", number));
        SeatSpec { limits: Limits { cpu_millis, ..wish.limits }, ..wish }
    };
    let firecracker = MicrovmConfig { monitor: MonitorKind::Firecracker, ..bench.config.clone() };
    for (config, most) in [(firecracker.clone(), 32), (bench.config.clone(), 64)] {
        bench.config = config;
        let provider = bench.provider();
        bench.world.script(None);
        let error = create(&provider, &wish(1, most * 1000 + 1)).await.unwrap_err();
        assert_eq!(error.code(), "refused");
        assert!(error.to_string().contains(&format!("cpus is above {most}, and a VM of")), "{error}");
        assert_eq!((bench.left(), bench.world.state().steps.len()), (Vec::new(), 0));
        up(&provider, &wish(1, most * 1000)).await;
        provider.destroy_workshop(&"rust-101".parse().unwrap(), DataPolicy::Remove).await.unwrap();
    }
    // A VM that runs is as it was when another monitor is chosen, and cannot be started again.
    up(&bench.provider(), &wish(2, 64_000)).await;
    bench.config = firecracker;
    up(&bench.provider(), &wish(2, 64_000)).await;
    bench.machine(&wish(2, 0).seat).end(How::Code(0));
    let error = create(&bench.provider(), &wish(2, 64_000)).await.unwrap_err();
    assert!(error.to_string().contains("a VM of Firecracker has at most 32 processors"), "{error}");
}

#[tokio::test]
async fn a_guest_without_an_agent_is_given_up() {
    let mut bench = Bench::new();
    bench.config.start_timeout = Duration::from_millis(300);
    bench.world.state().deaf = true;
    let provider = bench.provider();
    let error = create(&provider, &spec(seat("rust-101", 1))).await.unwrap_err();
    assert!(error.to_string().contains("did not answer within"), "{error}");
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_guest_without_a_timer_is_started_once_more() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    bench.world.state().timerless = 1;
    up(&provider, &wish).await;
    assert_eq!(starts(&bench), 2);
    // Also where the seat has data already.
    bench.machine(&wish.seat).end(How::Code(0));
    bench.world.state().timerless = 1;
    up(&provider, &wish).await;
    assert_eq!(starts(&bench), 4);
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_guest_without_a_timer_is_given_up_after_the_second_try() {
    let bench = Bench::new();
    let provider = bench.provider();
    bench.world.state().timerless = 3;
    let error = create(&provider, &spec(seat("rust-101", 1))).await.unwrap_err().to_string();
    for words in [
        "; its console says last: clarateach-agent: this machine has no timer: on purpose; the machine ends; ",
        "it was the second try",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!((starts(&bench), bench.world.state().timerless), (2, 1));
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_and_only_destroyed_on_request() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    for (text, word) in [
        ("{\"schema\": 1, \"work", "damaged"),
        ("", "damaged"),
        ("{\"schema\": 99, \"else\": {}}", "newer version"),
    ] {
        up(&provider, &wish).await;
        let folder = bench.seat_folder(&wish.seat);
        std::fs::write(folder.join("seat.json"), text).unwrap();
        // A service that starts over it leaves it alone.
        let next = bench.provider();
        next.start().await.unwrap();
        let seen = next.list(&Scope::All).await.unwrap();
        assert_eq!((seen.len(), seen[0].status), (1, Status::Error));
        assert!(seen[0].reason.as_deref().unwrap().contains(word), "{seen:?}");
        let error = create(&next, &wish).await.unwrap_err();
        assert!(error.code() == "refused" && error.to_string().contains(word), "{error}");
        let error = next.destroy(&wish.seat, DataPolicy::Keep).await.unwrap_err();
        assert!(error.to_string().contains("data.img"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.join("seat.json")).unwrap(), text);
        assert!(!bench.world.objects().is_empty());
        next.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
        assert_eq!(bench.left(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_seat_whose_record_cannot_be_read_keeps_its_address_while_its_port_is_there() {
    let bench = Bench::new();
    let provider = bench.provider();
    let (lost, next) = (spec(seat("rust-101", 1)), spec(seat("rust-101", 2)));
    let first = up(&provider, &lost).await;
    std::fs::write(bench.seat_folder(&lost.seat).join("seat.json"), "{").unwrap();
    bench.machine(&lost.seat).end(How::Signal(9));
    let second = up(&provider, &next).await;
    assert_ne!(second.ip, first.ip);
    let mut guarded = bench.world.state().guarded.clone();
    provider.destroy(&lost.seat, DataPolicy::Remove).await.unwrap();
    guarded.remove("ctt-rust-101-1");
    assert_eq!((bench.world.state().guarded.clone(), guarded.len()), (guarded, 1));
    // It is given back with the port.
    assert_eq!(up(&provider, &lost).await.ip, first.ip);
    provider.destroy_workshop(&lost.seat.workshop, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_seat_that_lost_its_network_is_told_and_mended_on_request() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let first = up(&provider, &wish).await;
    let data = bench.seat_folder(&wish.seat).join("data.img");
    super::life::mark(&data);
    bench.world.unplug(&wish.seat);
    // One who does not remember that it answered a moment ago. Bringing the host in order cannot give the VM its device back.
    drop(provider);
    let provider = bench.provider();
    provider.start().await.unwrap();
    let seen = provider.get(&wish.seat).await.unwrap().unwrap();
    assert_eq!((seen.status, &seen.id), (Status::Error, &first.id));
    assert!(seen.reason.as_deref().unwrap().contains("ctt-rust-101-1 was deleted"), "{seen:?}");

    bench.world.script(None);
    let again = create(&provider, &wish).await.unwrap();
    assert_eq!((again.disposition, &again.instance.id), (seats::Disposition::Found, &first.id));
    let seen = provider.settle(&again.instance, super::bench::PATIENCE).await.unwrap();
    assert_eq!((seen.status, seen.ip), (Status::Running, first.ip));
    assert!(super::life::is_marked(&data));
    let steps = bench.world.state().steps.clone();
    let place = |step: &str| steps.iter().position(|done| done == step);
    assert!(
        place("stop") < place("start") && place("stop").is_some(),
        "it had no time to write down: {steps:?}"
    );

    // A bridge can be mended under a VM that runs.
    bench.world.state().bridges.clear();
    bench.world.script(None);
    create(&provider, &wish).await.unwrap();
    let steps = bench.world.state().steps.clone();
    assert_eq!(steps, ["ensure ctb-rust-101", "ensure ctt-rust-101-1"]);
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_guest_that_waits_for_space_says_so_and_goes_on() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let machine = bench.machine(&wish.seat);
    for (is_stuck, status) in [(true, Status::Error), (false, Status::Running)] {
        machine.stuck.store(is_stuck, std::sync::atomic::Ordering::SeqCst);
        // What answered a moment ago is believed for a while.
        let seen = tokio::time::timeout(super::bench::PATIENCE, async {
            loop {
                let seen = provider.get(&wish.seat).await.unwrap().unwrap();
                if seen.status == status {
                    break seen;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let seen = seen.await.expect("nothing is said of it");
        assert_eq!(seen.reason.is_some_and(|why| why.contains("free space on the host's disk")), is_stuck);
    }
}

#[tokio::test]
async fn a_workshop_whose_record_is_damaged_is_removed_on_request() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    let record = bench.state().join("workshops/rust-101/workshop.json");
    std::fs::write(&record, "{").unwrap();
    let error = create(&provider, &spec(seat("rust-101", 2))).await.unwrap_err();
    assert!(error.to_string().contains("workshop.json"), "{error}");
    provider.destroy_workshop(&wish.seat.workshop, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn the_second_service_over_a_folder_is_refused() {
    let bench = Bench::new();
    let (one, two) = (bench.provider(), bench.provider());
    one.start().await.unwrap();
    match two.start().await {
        Err(StartError::State(StateError::Taken { .. })) => {}
        other => panic!("{other:?}"),
    }
    drop(one);
    two.start().await.unwrap();
}

#[tokio::test]
async fn an_image_that_does_not_boot_is_said_before_anything_is_made() {
    let bench = Bench::new();
    let archives = &bench.config.images.archives[0];
    std::fs::write(archives.join("empty.tar"), archive("empty:1", "amd64", false)).unwrap();
    std::fs::write(archives.join("arm.tar"), archive("arm:1", "arm64", true)).unwrap();
    std::fs::write(archives.join("damaged.tar"), b"no archive").unwrap();
    let provider = bench.provider();
    for (image, code, word) in [
        ("empty:1", "image_unusable", "/init"),
        ("arm:1", "image_unusable", "arm64"),
        ("nowhere:1", "image_unavailable", "damaged.tar"),
    ] {
        let wish = SeatSpec { image: image.parse().unwrap(), ..spec(seat("rust-101", 1)) };
        let error = create(&provider, &wish).await.unwrap_err();
        assert!(error.code() == code && error.to_string().contains(word), "{error}");
    }
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn an_image_that_was_collected_meanwhile_is_converted_again() {
    let bench = Bench::new();
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    up(&provider, &wish).await;
    bench.machine(&wish.seat).end(How::Code(0));
    for entry in std::fs::read_dir(bench.config.state_dir.join("images")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("rootfs.ext4").exists() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    up(&bench.provider(), &wish).await;
    // Without an archive, by what its name meant.
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    std::fs::remove_file(bench.config.images.archives[0].join("good.tar")).unwrap();
    up(&bench.provider(), &wish).await;
}

#[tokio::test]
async fn a_workshop_s_way_out_is_seen_to_as_soon_as_it_is_made() {
    let bench = Bench::new();
    let provider = bench.provider();
    provider.start().await.unwrap();
    for (heard, workshop) in [(1, "rust-101"), (2, "rust-102")] {
        up(&provider, &spec(seat(workshop, 1))).await;
        let bridge = format!("ctb-{workshop}");
        // Not as a part of the create, and not by the next look at everything alone.
        let is_seen_to = || {
            let state = bench.world.state();
            state.heard == heard && state.reaching.contains(&bridge)
        };
        let seen_to = tokio::time::timeout(super::bench::PATIENCE, async {
            while !is_seen_to() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        seen_to.await.expect("nobody looked");
    }
}
