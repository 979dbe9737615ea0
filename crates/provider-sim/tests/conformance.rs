//! The conformance suite over a simulated world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use conformance::{Harness, Inventory, Stop, TestImage};
use provider_sim::{
    DEFAULT_IMAGE, SimImage, SimProvider, Step, World, WorldOptions, instance_name, network_name, volume_name,
};
use seats::{ImageRef, Limits, ObjectKind, Provider, SeatRef, WorkshopId};

struct Simulated(World);

/// A world with the suite's images, where every call takes a moment, so that calls overlap.
async fn simulated() -> Result<Simulated, Stop> {
    let world = World::new(WorldOptions {
        start_timeout: Duration::from_secs(2),
        latency: Duration::from_millis(1),
        ..WorldOptions::default()
    });
    for (name, does) in [
        ("other", SimImage::good()),
        ("slow", SimImage::slow(Duration::from_millis(300))),
        ("exits", SimImage::exits(TestImage::EXIT_CODE, TestImage::LAST_LINE)),
        ("mute", SimImage::mute()),
    ] {
        world.add_image(&name.parse()?, does);
    }
    Ok(Simulated(world))
}

fn foreign_name(kind: ObjectKind, seat: &SeatRef) -> String {
    match kind {
        ObjectKind::Instance => instance_name(seat),
        ObjectKind::Network => network_name(&seat.workshop),
        ObjectKind::Volume => volume_name(seat),
    }
}

#[async_trait]
impl Harness for Simulated {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(SimProvider::new(self.0.clone()))
    }

    async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop> {
        let found = self.0.inventory_of(workshop);
        Ok(Inventory {
            instances: found.instances.into_iter().collect(),
            networks: found.networks.into_iter().collect(),
            volumes: found.volumes.into_iter().collect(),
            ..Inventory::default()
        })
    }

    fn image(&self, kind: TestImage) -> Result<ImageRef, Stop> {
        let name = match kind {
            TestImage::Good => DEFAULT_IMAGE,
            TestImage::Other => "other",
            TestImage::Slow => "slow",
            TestImage::ExitsAtOnce => "exits",
            TestImage::Mute => "mute",
            TestImage::Stubborn => return Err(Stop::skip("a simulated seat gets no signals")),
            TestImage::Missing => "nowhere/missing",
        };
        Ok(name.parse()?)
    }

    async fn write_marker(&self, seat: &SeatRef, content: &str) -> Result<(), Stop> {
        if self.0.write_file(seat, content) { Ok(()) } else { Err(Stop::fail("the seat has no volume")) }
    }

    async fn read_marker(&self, seat: &SeatRef) -> Result<Option<String>, Stop> {
        Ok(self.0.read_file(seat))
    }

    async fn plant_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        self.0.plant_foreign(kind, foreign_name(kind, seat));
        Ok(())
    }

    async fn foreign_is_untouched(&self, kind: ObjectKind, seat: &SeatRef) -> Result<bool, Stop> {
        Ok(self.0.has_foreign(kind, &foreign_name(kind, seat)))
    }

    async fn remove_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        self.0.remove_foreign(kind, &foreign_name(kind, seat));
        Ok(())
    }

    async fn secrets_surface(&self, _seat: &SeatRef) -> Result<String, Stop> {
        Ok(format!("{} {:?}", self.0.surface(), self.0))
    }

    async fn stop(&self, seat: &SeatRef) -> Result<(), Stop> {
        if self.0.stop(seat) { Ok(()) } else { Err(Stop::fail("the seat is not there")) }
    }

    async fn environment(&self, seat: &SeatRef) -> Result<BTreeMap<String, String>, Stop> {
        self.0.environment(seat).ok_or_else(|| Stop::fail("the seat is not there"))
    }

    async fn limits(&self, seat: &SeatRef) -> Result<Limits, Stop> {
        self.0.limits(seat).ok_or_else(|| Stop::fail("the seat is not there"))
    }

    fn start_timeout(&self) -> Duration {
        self.0.options().start_timeout
    }

    fn class_size(&self) -> u16 {
        30
    }
}

conformance::suite!(simulated);

/// One run of everything in one world: nothing of any check is left for the next, and the list is one engine call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_suite_leaves_an_empty_world() {
    let simulated = simulated().await.unwrap();
    let world = simulated.0.clone();
    let report = conformance::run(Arc::new(simulated)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.entries.len(), conformance::all().len());
    assert!(world.is_empty(), "{world:?}");
    assert!(world.calls(Step::Create) > 0);
}
