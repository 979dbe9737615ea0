//! Snapshots that guests do not go on from, whatever their files look like.

use std::time::Duration;

use rstest::rstest;
use seats::{DataPolicy, Provider as _, Stage, Status, Timeline};

use super::bench::{PATIENCE, seat, spec, up};
use super::snapshots::{bench, snapshots, steps};
use crate::edges::scripted::GoingOn;

#[rstest]
#[case(GoingOn::Deaf)]
#[case(GoingOn::Ends)]
#[case(GoingOn::Lost)]
#[tokio::test]
async fn a_seat_boots_that_went_on_and_did_not_come_up_and_the_second_takes_the_snapshot_with_it(
    #[case] how: GoingOn,
) {
    let mut bench = bench();
    // Half of it is what a deaf one takes.
    bench.config.start_timeout = Duration::from_secs(6);
    bench.world.state().restored = how;
    let provider = bench.provider();
    for (number, stay) in [(1, 1), (2, 0)] {
        let wish = spec(seat("rust-101", number));
        bench.world.script(None);
        let timeline = Timeline::default();
        let created = provider.create(&wish, &timeline).await.unwrap();
        let settled = provider.settle(&created.instance, PATIENCE).await.unwrap();
        assert_eq!(settled.status, Status::Running, "{settled:?}");
        let steps = steps(&bench);
        assert!(steps.ends_with(&["restore", "clear", "start"].map(str::to_owned)), "{steps:?}");
        timeline.finish();
        assert!(timeline.timings().iter().any(|timing| timing.stage == Stage::Start));
        let record = std::fs::read_to_string(bench.seat_folder(&wish.seat).join("seat.json")).unwrap();
        assert!(!record.contains("restored"), "{record}");
        assert_eq!(snapshots(&bench).len(), stay);
    }
    // Nobody tries it a third time.
    bench.world.script(None);
    up(&provider, &spec(seat("rust-101", 3))).await;
    assert_eq!(steps(&bench), ["clear", "start"]);
    for number in 1..=3 {
        provider.destroy(&seat("rust-101", number), DataPolicy::Remove).await.unwrap();
    }
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn a_snapshot_stays_that_others_go_on_from_between_two_refusals() {
    let bench = bench();
    let provider = bench.provider();
    for (number, how) in (1..).zip([GoingOn::Ends, GoingOn::Well, GoingOn::Ends, GoingOn::Well]) {
        bench.world.state().restored = how;
        bench.world.script(None);
        up(&provider, &spec(seat("rust-101", number))).await;
        let is_booted = steps(&bench).last().is_some_and(|step| step == "start");
        assert_eq!(is_booted, how == GoingOn::Ends, "{number}");
    }
    assert_eq!(snapshots(&bench).len(), 1);
}
