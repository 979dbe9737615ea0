//! A service that is killed at each step, before and after the kernel did what it was asked for; then another one starts.

use rstest::rstest;
use seats::{DataPolicy, Provider as _, Scope, Status};
use tokio::runtime::{Builder, Runtime};

use super::bench::{Bench, PATIENCE, create, seat, spec, up};
use super::life::{is_marked, mark};
use crate::edges::scripted::{Fault, What};

const MOST: usize = 40;

fn service() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum During {
    Create,
    Destroy(DataPolicy),
    DestroyWorkshop,
}

#[rstest]
#[case(What::HangsBefore, During::Create)]
#[case(What::HangsAfter, During::Create)]
#[case(What::HangsBefore, During::Destroy(DataPolicy::Remove))]
#[case(What::HangsAfter, During::Destroy(DataPolicy::Remove))]
#[case(What::HangsBefore, During::Destroy(DataPolicy::Keep))]
#[case(What::HangsAfter, During::Destroy(DataPolicy::Keep))]
#[case(What::HangsAfter, During::DestroyWorkshop)]
fn the_next_service_brings_in_order_what_a_killed_one_left(#[case] what: What, #[case] during: During) {
    let mut killed = 0;
    for at in 0..MOST {
        let bench = Bench::new();
        let wish = spec(seat("rust-101", 1));
        let bystander = spec(seat("rust-102", 1));
        let image = bench.seat_folder(&wish.seat).join("data.img");
        let first = service();
        let beside = first.block_on(async {
            let provider = bench.provider();
            provider.start().await.unwrap();
            let beside = up(&provider, &bystander).await;
            if during != During::Create {
                up(&provider, &wish).await;
                mark(&image);
            }
            bench.world.script(Some(Fault { at, what }));
            let (world, wish) = (bench.world.clone(), wish.clone());
            let work = tokio::spawn(async move {
                match during {
                    During::Create => drop(create(&provider, &wish).await.unwrap()),
                    During::Destroy(data) => provider.destroy(&wish.seat, data).await.unwrap(),
                    During::DestroyWorkshop => {
                        provider.destroy_workshop(&wish.seat.workshop, DataPolicy::Remove).await.unwrap();
                    }
                }
            });
            tokio::select! {
                done = work => done.unwrap(),
                () = world.stuck() => {}
            }
            beside
        });
        let reached = bench.world.state().steps.len() > at;
        // As a kill does: every task ends where it is, and every lock is let go.
        first.shutdown_timeout(PATIENCE);
        bench.world.script(None);
        killed += usize::from(reached);

        service().block_on(async {
            let provider = bench.provider();
            provider.start().await.unwrap();
            let seats = provider.list(&Scope::All).await.unwrap();
            let there: Vec<_> = seats.iter().map(|seat| seat.seat.to_string()).collect();
            let is_there = during == During::Create && !reached;
            let expected: &[&str] = if is_there { &["rust-101/1", "rust-102/1"] } else { &["rust-102/1"] };
            // One case only in which both are right: it was killed after the last step of the create.
            let may_be_whole = during == During::Create && there.len() == 2;
            assert!(there == expected || may_be_whole, "step {at}: {there:?}");
            let found = provider.get(&bystander.seat).await.unwrap().unwrap();
            assert_eq!((found.status, &found.id), (Status::Running, &beside.id), "step {at}");
            if during == During::Destroy(DataPolicy::Keep) {
                assert!(is_marked(&image), "step {at}");
            }
            // And it can be made.
            up(&provider, &wish).await;
            for workshop in ["rust-101", "rust-102"] {
                provider.destroy_workshop(&workshop.parse().unwrap(), DataPolicy::Remove).await.unwrap();
            }
            assert_eq!(bench.left(), [] as [String; 0], "step {at}");
        });
        if !reached {
            break;
        }
    }
    assert!(killed >= 3, "killed {killed} times");
}

#[test]
fn seats_of_a_host_that_was_restarted_are_stopped_and_start_again() {
    let bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    let image = bench.seat_folder(&wish.seat).join("data.img");
    let made = service().block_on(async {
        let provider = bench.provider();
        let made = up(&provider, &wish).await;
        mark(&image);
        made
    });
    bench.world.reboot();
    // The host crashed before the disk had more of it than the name.
    let of_vm = bench.seat_folder(&wish.seat).join("run/vmm.json");
    assert!(of_vm.exists());
    std::fs::write(of_vm, "").unwrap();
    service().block_on(async {
        let provider = bench.provider();
        provider.start().await.unwrap();
        let seen = provider.get(&wish.seat).await.unwrap().unwrap();
        assert_eq!(seen.status, Status::Stopped);
        assert_eq!(seen.reason.as_deref(), Some("the host was restarted; create the seat again to start it"));
        assert!(bench.world.objects().is_empty());
        let again = create(&provider, &wish).await.unwrap();
        let seen = provider.settle(&again.instance, PATIENCE).await.unwrap();
        assert_eq!((seen.status, seen.id), (Status::Running, made.id));
        assert!(is_marked(&image));
    });
}

#[test]
fn live_seats_are_adopted_and_orphans_go() {
    let bench = Bench::new();
    let wishes: Vec<_> = (1..=3).map(|number| spec(seat("rust-101", number))).collect();
    let made = service().block_on(async {
        let provider = bench.provider();
        let mut made = Vec::new();
        for wish in &wishes {
            made.push(up(&provider, wish).await);
        }
        made
    });
    {
        let mut state = bench.world.state();
        // One without a record, one of somebody else.
        state.taps.insert("ctt-gone-9".into(), Some(seat("gone", 9)));
        state.bridges.insert("ctb-gone".into(), Some("gone".parse().unwrap()));
        state.taps.insert("tap0".into(), None);
        // Somebody removed one of a live seat.
        state.taps.remove("ctt-rust-101-2");
    }
    service().block_on(async {
        let provider = bench.provider();
        provider.start().await.unwrap();
        assert_eq!(provider.list(&Scope::All).await.unwrap(), made);
        let state = bench.world.state();
        let taps: Vec<_> = state.taps.keys().collect();
        assert_eq!(taps, ["ctt-rust-101-1", "ctt-rust-101-2", "ctt-rust-101-3", "tap0"]);
        assert_eq!(state.bridges.len(), 1);
    });
}

#[test]
fn a_record_that_was_not_finished_and_the_file_of_a_turn_go_with_the_next_start() {
    let bench = Bench::new();
    let of_host = |path: &str| bench.state().join(path);
    service().block_on(async {
        bench.provider().start().await.unwrap();
        for folder in ["workshops/empty", "workshops/half/1"] {
            std::fs::create_dir_all(of_host(folder)).unwrap();
        }
        for file in [
            "workshops/empty/.workshop.json.new",
            "workshops/half/1/.seat.json.new",
            "workshops/half/.workshop.json.new",
            "locks/half.1",
            "locks/.ledger",
            "locks/.snapshot.0123",
        ] {
            std::fs::write(of_host(file), "{").unwrap();
        }
    });
    assert_ne!(bench.left(), [] as [String; 0]);
    service().block_on(async {
        bench.provider().start().await.unwrap();
        assert_eq!(bench.left(), [] as [String; 0]);
    });
}
