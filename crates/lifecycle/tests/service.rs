//! The service around a simulated provider: what its callers see.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use lifecycle::{
    ClassRequest, CreateReply, Lifecycle, LifecycleError, LimitsRequest, Policy, SeatOutcome, SeatRequest,
    Silent,
};
use provider_sim::{DEFAULT_IMAGE, Fault, Gate, SimProvider, Step, World, WorldOptions};
use seats::{DataPolicy, Disposition, EnvVars, Limits, Scope, SeatBound, SeatRef, Status, WorkshopId};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(600);

fn service(world: &World, parallel: usize, queue: usize) -> Lifecycle {
    let policy = Policy {
        image: DEFAULT_IMAGE.parse().unwrap(),
        allowed_images: Vec::new(),
        limits: Limits::default(),
        ceiling: Limits::default(),
        parallel,
        queue,
        start_timeout: Duration::from_secs(5),
    };
    Lifecycle::new(Arc::new(SimProvider::new(world.clone())), policy.checked().unwrap(), Arc::new(Silent))
}

fn world() -> World {
    World::new(WorldOptions { http: false, ..WorldOptions::default() })
}

fn workshop() -> WorkshopId {
    "rust-101".parse().unwrap()
}

fn seat(number: u64) -> SeatRef {
    SeatRef::new(workshop(), SeatBound::default().seat(number).unwrap())
}

fn request(number: u64) -> SeatRequest {
    SeatRequest {
        seat: seat(number),
        image: None,
        env: EnvVars::default(),
        limits: LimitsRequest::default(),
        api_key: None,
    }
}

/// A create of seat 1 that has begun and hangs in the engine.
async fn working(
    world: &World,
    service: &Lifecycle,
) -> (Gate, JoinHandle<Result<CreateReply, LifecycleError>>) {
    let gate = world.hang(Fault::at(Step::Create));
    let service = service.clone();
    let working = tokio::spawn(async move { service.create(request(1), LONG).await });
    gate.reached(1).await;
    (gate, working)
}

fn class(seats: std::ops::RangeInclusive<u64>, prune: Option<DataPolicy>) -> ClassRequest {
    ClassRequest {
        workshop: workshop(),
        seats: seats.map(|number| seat(number).seat).collect(),
        image: None,
        env: EnvVars::default(),
        limits: LimitsRequest::default(),
        api_key: None,
        api_keys: std::collections::BTreeMap::new(),
        prune,
    }
}

/// Waits until no create works or waits.
async fn idle(service: &Lifecycle) {
    while service.load().working + service.load().waiting > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_was_told_to_have_failed_is_not_under_way_any_more() {
    let world = world();
    let service = service(&world, 2, 8);
    for _ in 0..500 {
        world.fail(Fault::at(Step::Create));
        service.create(request(1), LONG).await.unwrap_err();
        assert!(service.get(&seat(1)).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_finds_the_seat_while_it_is_made_and_why_it_failed() {
    let world = world();
    let service = service(&world, 2, 8);
    let gate = world.hang(Fault::at(Step::Create));
    let reply = service.create(request(1), Duration::ZERO).await.unwrap();
    assert_eq!((reply.instance.status, reply.instance.id), (Status::Starting, None));
    gate.reached(1).await;
    let shown = service.get(&seat(1)).await.unwrap().unwrap();
    assert_eq!(shown.reason.as_deref(), Some("making the instance"));
    gate.release();
    assert_eq!(service.create(request(1), LONG).await.unwrap().disposition, Disposition::Found);

    let gate = world.hang(Fault::at(Step::Create));
    service.create(request(2), Duration::ZERO).await.unwrap();
    gate.reached(1).await;
    world.fail(Fault::at(Step::Start));
    gate.release();
    service.drain(LONG).await;
    let listed = service.list(&Scope::Workshop(workshop())).await.unwrap();
    assert_eq!(listed[1].status, Status::Error, "{listed:?}");
    assert!(listed[1].reason.as_ref().unwrap().contains("start failed"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroy_calls_off_the_creates_before_it_and_not_those_after_it() {
    let world = world();
    let service = service(&world, 1, 8);
    let (gate, working) = working(&world, &service).await;
    let waiting = service.create(request(1), Duration::ZERO).await.unwrap();
    assert_eq!(waiting.instance.status, Status::Starting);
    let destroying = tokio::spawn({
        let service = service.clone();
        async move { service.destroy(&seat(1), DataPolicy::Remove).await }
    });
    while !destroying.is_finished() && service.load().waiting > 0 {
        tokio::task::yield_now().await;
    }
    gate.release();
    destroying.await.unwrap().unwrap();
    // What worked when the destroy came was made and then destroyed.
    let answer = working.await.unwrap();
    assert!(answer.is_ok() || answer.as_ref().is_err_and(|error| error.code() == "seat_gone"), "{answer:?}");
    assert!(world.is_empty(), "{world:?}");
    assert_eq!(service.create(request(1), LONG).await.unwrap().disposition, Disposition::Made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_line_it_is_full_and_a_class_stands_in_it_as_a_whole() {
    let world = world();
    let service = service(&world, 1, 1);
    let gate = world.hang(Fault::at(Step::Create));
    service.create(request(1), Duration::ZERO).await.unwrap();
    gate.reached(1).await;
    service.create(request(2), Duration::ZERO).await.unwrap();
    let error = service.create(request(3), Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&error, LifecycleError::Busy { retry_after, .. } if *retry_after >= Duration::from_secs(1))
    );
    assert!(service.converge(class(1..=3, None)).is_err());
    gate.release();
    idle(&service).await;
    let report = service.converge(class(1..=30, None)).unwrap().finish().await.unwrap();
    assert!(report.converged() && report.seats.len() == 30, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_seats_are_told_of_and_go_only_when_asked() {
    let world = world();
    let service = service(&world, 4, 8);
    service.converge(class(1..=4, None)).unwrap().finish().await.unwrap();
    let outcomes =
        |report: lifecycle::ClassReport| report.seats.iter().map(|one| one.outcome).collect::<Vec<_>>();
    use SeatOutcome::{Destroyed, Surplus, Unchanged};
    let report = service.converge(class(1..=2, None)).unwrap().finish().await.unwrap();
    assert_eq!(outcomes(report), [Unchanged, Unchanged, Surplus, Surplus]);
    let prune = Some(DataPolicy::Remove);
    let report = service.converge(class(1..=2, prune)).unwrap().finish().await.unwrap();
    assert_eq!(outcomes(report), [Unchanged, Unchanged, Destroyed, Destroyed]);
    assert_eq!(service.list(&Scope::All).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_in_conflict_is_shown_as_it_is() {
    let world = world();
    let service = service(&world, 4, 8);
    let made = service.create(request(2), LONG).await.unwrap();
    let mut other = class(1..=2, None);
    other.env.insert("LESSON", "two".into()).unwrap();
    let report = service.converge(other).unwrap().finish().await.unwrap();
    assert!(!report.converged());
    let conflict = &report.seats[1];
    assert_eq!((conflict.outcome, conflict.code), (SeatOutcome::Conflict, Some("seat_conflict")));
    assert_eq!(conflict.instance.as_ref().unwrap().id, made.instance.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_goes_on_when_nobody_watches_it() {
    let world = world();
    let service = service(&world, 2, 8);
    drop(service.converge(class(1..=12, None)).unwrap());
    idle(&service).await;
    assert_eq!(service.list(&Scope::All).await.unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_lets_the_engine_work_end_and_takes_nothing_new() {
    let world = world();
    let service = service(&world, 1, 8);
    let (gate, working) = working(&world, &service).await;
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.create(request(2), LONG).await }
    });
    while service.load().waiting < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.drain(Duration::ZERO).await, 1);
    assert!(matches!(waiting.await.unwrap().unwrap_err(), LifecycleError::Draining));
    assert!(matches!(service.create(request(3), LONG).await.unwrap_err(), LifecycleError::Draining));
    gate.release();
    assert_eq!(service.drain(LONG).await, 0);
    assert_eq!(working.await.unwrap().unwrap().disposition, Disposition::Made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_keeps_the_order_of_requests() {
    let world = world();
    let service = service(&world, 4, 8);
    // Asked before the class and still under way: surplus, and destroyed.
    let gate = world.hang(Fault::at(Step::Create).only(&seat(3)));
    service.create(request(3), Duration::ZERO).await.unwrap();
    gate.reached(1).await;
    let run = service.converge(class(1..=2, Some(DataPolicy::Remove))).unwrap();
    // Asked after it: not the class's business.
    service.create(request(4), Duration::ZERO).await.unwrap();
    gate.release();
    let report = run.finish().await.unwrap();
    let outcomes: Vec<_> = report.seats.iter().map(|one| (one.seat.get(), one.outcome)).collect();
    use SeatOutcome::{Created, Destroyed};
    assert_eq!(outcomes, [(1, Created), (2, Created), (3, Destroyed)]);
    service.create(request(4), LONG).await.unwrap();
    let there: Vec<_> =
        service.list(&Scope::All).await.unwrap().iter().map(|one| one.seat.seat.get()).collect();
    assert_eq!(there, [1, 2, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_under_way_is_in_every_listing() {
    let world = world();
    let service = service(&world, 2, 8);
    for _ in 0..1000 {
        service.create(request(1), Duration::ZERO).await.unwrap();
        assert!(service.get(&seat(1)).await.unwrap().is_some());
        assert_eq!(service.list(&Scope::All).await.unwrap().len(), 1);
        service.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_seat_does_not_come_back_as_a_failure() {
    let world = world();
    let service = service(&world, 2, 8);
    for _ in 0..50 {
        let gate = world.hang(Fault::at(Step::Create));
        service.create(request(1), Duration::ZERO).await.unwrap();
        gate.reached(1).await;
        world.fail(Fault::at(Step::Start));
        let target = seat(1);
        let (destroyed, ()) = tokio::join!(service.destroy(&target, DataPolicy::Remove), async {
            gate.release();
        });
        destroyed.unwrap();
        assert!(service.get(&seat(1)).await.unwrap().is_none());
        world.clear_faults();
    }
}

/// One place to work and a class in line: a seat of another workshop waits for its turn, not for the class.
#[tokio::test]
async fn a_single_seat_does_not_wait_for_the_whole_class_before_it() {
    const SEATS: u64 = 12;
    let world = world();
    let service = service(&world, 1, 64);
    let first = world.hang(Fault::at(Step::Create));
    let run = service.converge(class(1..=SEATS, None)).unwrap();
    first.reached(1).await;

    let other = SeatRef::new("elsewhere".parse().unwrap(), seat(1).seat);
    let mine = world.hang(Fault::at(Step::Create).only(&other));
    let single = tokio::spawn({
        let (service, request) = (service.clone(), SeatRequest { seat: other, ..request(1) });
        async move { service.create(request, LONG).await }
    });
    // Everybody has come as far as the line: one runtime thread runs all of them while this one gives way.
    while (service.load().waiting as u64) < SEATS {
        tokio::task::yield_now().await;
    }
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    first.release();
    mine.reached(1).await;
    // The single seat holds the only place now, so the class stands still and can be counted.
    let made = world.inventory_of(&workshop()).instances.len() as u64;
    assert!(made < SEATS, "the class went first, all {made} of it");
    mine.release();
    assert_eq!(single.await.unwrap().unwrap().disposition, Disposition::Made);
    assert!(run.finish().await.unwrap().converged());
}
