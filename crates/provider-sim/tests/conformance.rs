//! The conformance suite over a simulated world.

mod harness;

use std::sync::Arc;

use conformance::Stop;
use harness::{Simulated, served_by};
use provider_sim::{SimProvider, Step};

async fn simulated() -> Result<Simulated, Stop> {
    served_by(|world| Arc::new(SimProvider::new(world)))
}

conformance::suite!(simulated);

/// One run of everything in one world: nothing of any check is left for the next, and the list is one engine call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_suite_leaves_an_empty_world() {
    let simulated = simulated().await.unwrap();
    let world = simulated.world.clone();
    let report = conformance::run(Arc::new(simulated)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.entries.len(), conformance::all().len());
    assert!(world.is_empty(), "{world:?}");
    assert!(world.calls(Step::Create) > 0);
}
