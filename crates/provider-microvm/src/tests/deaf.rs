//! Agents that hang while the workspace goes on answering.

use std::time::Duration;

use seats::{DataPolicy, Instance, Provider as _, SeatSpec, Status};

use super::bench::{Bench, PATIENCE, seat, spec, up};
use crate::MicrovmProvider;

const FOR_EVER: Duration = Duration::from_secs(3600);
const HARDLY: Duration = Duration::from_millis(300);

async fn seen(provider: &MicrovmProvider, wish: &SeatSpec) -> Instance {
    provider.get(&wish.seat).await.unwrap().unwrap()
}

/// Waits until the seat is so, with these words in the reason.
async fn until(provider: &MicrovmProvider, wish: &SeatSpec, status: Status, words: &str) -> Instance {
    let look = async {
        loop {
            let seen = seen(provider, wish).await;
            if seen.status == status && seen.reason.as_deref().unwrap_or_default().contains(words) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(seen) => seen,
        Err(_) => panic!("it never is {status:?} with {words:?}: {:?}", seen(provider, wish).await),
    }
}

#[tokio::test]
async fn a_seat_whose_agent_hangs_is_not_running() {
    let mut bench = Bench::new();
    bench.config.start_timeout = FOR_EVER;
    let provider = bench.provider();
    let wish = spec(seat("rust-101", 1));
    let first = up(&provider, &wish).await;
    let machine = bench.machine(&wish.seat);

    machine.turn_deaf(true);
    let lost =
        "its agent does not answer (the guest agent was asked to do as scripted, and the link to it was lost";
    until(&provider, &wish, Status::Starting, lost).await;
    // It is as before once it answers again.
    machine.turn_deaf(false);
    let again = until(&provider, &wish, Status::Running, "").await;
    assert_eq!(again, first);

    // Such a seat goes like any other.
    machine.turn_deaf(true);
    until(&provider, &wish, Status::Starting, lost).await;
    provider.destroy(&wish.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn an_agent_that_hangs_for_longer_than_a_start_may_take_is_an_error() {
    let mut bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    bench.config.start_timeout = HARDLY;
    let provider = bench.provider();
    // Its link is taken up again.
    let record = provider.core.record(&wish.seat).unwrap().unwrap();
    let live = provider.core.live(&record).await.unwrap().unwrap();
    live.link.up().await.unwrap();
    assert_eq!(seen(&provider, &wish).await.status, Status::Running);

    bench.machine(&wish.seat).turn_deaf(true);
    let seen = until(&provider, &wish, Status::Error, "its agent does not answer").await;
    assert!(seen.reason.unwrap().ends_with(" after 0 s; see its log, or destroy the seat"));
    bench.machine(&wish.seat).turn_deaf(false);
    until(&provider, &wish, Status::Running, "").await;
}

#[tokio::test]
async fn seats_of_a_service_that_comes_back_are_as_their_ports_say_until_their_agents_had_their_time() {
    let mut bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    let first = up(&bench.provider(), &wish).await;
    bench.machine(&wish.seat).turn_deaf(true);

    bench.config.start_timeout = FOR_EVER;
    let provider = bench.provider();
    provider.start().await.unwrap();
    assert_eq!(seen(&provider, &wish).await, first);
    drop(provider);

    bench.config.start_timeout = HARDLY;
    let provider = bench.provider();
    provider.start().await.unwrap();
    // Why is known once its link has been given up for the first time.
    let silent = "its agent does not answer (the guest agent did not answer within 0 s";
    until(&provider, &wish, Status::Error, silent).await;
    assert!(bench.machine(&wish.seat).runs(), "nobody ended it");
}

#[tokio::test]
async fn a_seat_that_is_silent_altogether_is_told_by_its_ports() {
    let mut bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    up(&bench.provider(), &wish).await;
    let machine = bench.machine(&wish.seat);
    machine.turn_deaf(true);
    // Nor does anybody listen where it was.
    *machine.config.lock().unwrap() = None;
    bench.config.start_timeout = HARDLY;
    let seen = until(&bench.provider(), &wish, Status::Error, "port 3001 does not answer").await;
    assert!(!seen.reason.unwrap().contains("agent"));
}
