//! The packet filter under seats that run, which somebody flushes.

use std::time::Duration;

use seats::SeatRef;

use super::bench::{Bench, PATIENCE, seat, spec, up};
use crate::vmm::How;

/// A seat's device, as it is named here.
fn tap(seat: &SeatRef) -> String {
    format!("ctt-{}-{}", seat.workshop, seat.seat)
}

#[tokio::test]
async fn a_flushed_packet_filter_is_put_in_order_around_seats_that_run() {
    let bench = Bench::new();
    let provider = bench.provider();
    for number in 1..=2 {
        up(&provider, &spec(seat("rust-101", number))).await;
    }
    let steps = || std::mem::take(&mut bench.world.state().steps);
    steps();
    provider.core.keep_guarded(PATIENCE).await.unwrap();
    assert_eq!(steps(), [] as [String; 0]);

    // The second one does not run: what it needs comes with its next start.
    bench.world.state().guarded.clear();
    bench.machine(&seat("rust-101", 2)).end(How::Code(0));
    provider.core.keep_guarded(PATIENCE).await.unwrap();
    assert_eq!(steps(), ["refresh", "ensure ctb-rust-101", "ensure ctt-rust-101-1"]);
    provider.core.keep_guarded(PATIENCE).await.unwrap();
    assert_eq!(steps(), [] as [String; 0]);
}

/// Four seats that run, in two workshops, without what the packet filter knew of them.
async fn flushed(bench: &Bench) -> (std::sync::Arc<crate::MicrovmProvider>, Vec<SeatRef>) {
    let provider = bench.provider();
    let seats = [("go-101", 1), ("go-101", 2), ("rust-101", 1), ("rust-101", 2)];
    let seats: Vec<_> = seats.into_iter().map(|(workshop, number)| seat(workshop, number)).collect();
    for seat in &seats {
        up(&provider, &spec(seat.clone())).await;
    }
    bench.world.state().guarded.clear();
    (provider, seats)
}

/// Whether the packet filter knows all of these seats.
fn knows(bench: &Bench, seats: &[SeatRef]) -> bool {
    let state = bench.world.state();
    seats.iter().all(|seat| state.guarded.contains_key(&tap(seat)))
}

#[tokio::test]
async fn a_seat_that_somebody_works_on_holds_up_no_other() {
    let bench = Bench::new();
    let (provider, seats) = flushed(&bench).await;
    let held = provider.core.turn(&seats[0]).await.unwrap();
    let looked = async {
        while !knows(&bench, &seats[1..]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!knows(&bench, &seats[..1]), "whoever works on it was not waited for");
        drop(held);
    };
    // For as long as anything may take: its turn comes only when the others are known.
    let both = async { tokio::join!(provider.core.keep_guarded(PATIENCE * 10), looked) };
    let (kept, ()) = tokio::time::timeout(PATIENCE, both).await.expect("one seat holds up the others");
    kept.unwrap();
    assert!(knows(&bench, &seats));
}

#[tokio::test]
async fn a_seat_whose_turn_does_not_come_is_told_and_found_by_the_next_look() {
    let bench = Bench::new();
    let (provider, seats) = flushed(&bench).await;
    let held = provider.core.turn(&seats[0]).await.unwrap();
    // It must not keep the next look from what is flushed meanwhile.
    for _ in 0..2 {
        bench.world.state().guarded.clear();
        let look = provider.core.keep_guarded(Duration::from_millis(100));
        let looked =
            tokio::time::timeout(PATIENCE, look).await.expect("it waits for whoever works on a seat");
        let error = looked.unwrap_err().to_string();
        assert!(error.starts_with("seat go-101/1: ") && error.contains("looked at again"), "{error}");
        assert!(knows(&bench, &seats[1..]) && !knows(&bench, &seats[..1]));
    }
    drop(held);
    provider.core.keep_guarded(PATIENCE).await.unwrap();
    assert!(knows(&bench, &seats));
}

#[tokio::test]
async fn seats_that_cannot_be_mended_are_all_told_and_keep_none_from_it() {
    let bench = Bench::new();
    let (provider, seats) = flushed(&bench).await;
    // One whose lock cannot be had, and one whose port cannot be made.
    let lock = provider.core.state.seat_lock(&seats[0]);
    std::fs::create_dir(&lock).unwrap();
    bench.world.state().broken = [format!("ensure {}", tap(&seats[2]))].into();
    let error = provider.core.keep_guarded(PATIENCE).await.unwrap_err().to_string();
    for words in ["seat go-101/1: ", "waiting for a turn", "seat rust-101/1: ", "failed on purpose"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(knows(&bench, &seats[1..2]) && knows(&bench, &seats[3..]));
    std::fs::remove_dir(&lock).unwrap();
    bench.world.state().broken.clear();
    provider.core.keep_guarded(PATIENCE).await.unwrap();
    assert!(knows(&bench, &seats));
}
