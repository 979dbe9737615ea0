//! The harness of the conformance suite over a simulated world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use conformance::{Harness, Inventory, Stop, TestImage};
use provider_sim::{DEFAULT_IMAGE, SimImage, World, WorldOptions, instance_name, network_name, volume_name};
use seats::{ImageRef, Limits, ObjectKind, Provider, SeatRef, WorkshopId};

/// A simulated world, and how a service comes to its provider.
pub(crate) struct Simulated {
    pub(crate) world: World,
    service: Box<dyn Fn(World) -> Arc<dyn Provider> + Send + Sync>,
}

/// A world with the suite's images, where every call takes a moment, so that calls overlap.
pub(crate) fn served_by(
    service: impl Fn(World) -> Arc<dyn Provider> + Send + Sync + 'static,
) -> Result<Simulated, Stop> {
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
    Ok(Simulated { world, service: Box::new(service) })
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
        (self.service)(self.world.clone())
    }

    async fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory, Stop> {
        let found = self.world.inventory_of(workshop);
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
        if self.world.write_file(seat, content) { Ok(()) } else { Err(Stop::fail("the seat has no volume")) }
    }

    async fn read_marker(&self, seat: &SeatRef) -> Result<Option<String>, Stop> {
        Ok(self.world.read_file(seat))
    }

    async fn plant_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        self.world.plant_foreign(kind, foreign_name(kind, seat));
        Ok(())
    }

    async fn foreign_is_untouched(&self, kind: ObjectKind, seat: &SeatRef) -> Result<bool, Stop> {
        Ok(self.world.has_foreign(kind, &foreign_name(kind, seat)))
    }

    async fn remove_foreign(&self, kind: ObjectKind, seat: &SeatRef) -> Result<(), Stop> {
        self.world.remove_foreign(kind, &foreign_name(kind, seat));
        Ok(())
    }

    async fn secrets_surface(&self, _seat: &SeatRef) -> Result<String, Stop> {
        Ok(format!("{} {:?}", self.world.surface(), self.world))
    }

    async fn stop(&self, seat: &SeatRef) -> Result<(), Stop> {
        if self.world.stop(seat) { Ok(()) } else { Err(Stop::fail("the seat is not there")) }
    }

    async fn environment(&self, seat: &SeatRef) -> Result<BTreeMap<String, String>, Stop> {
        self.world.environment(seat).ok_or_else(|| Stop::fail("the seat is not there"))
    }

    async fn limits(&self, seat: &SeatRef) -> Result<Limits, Stop> {
        self.world.limits(seat).ok_or_else(|| Stop::fail("the seat is not there"))
    }

    fn start_timeout(&self) -> Duration {
        self.world.options().start_timeout
    }

    fn class_size(&self) -> u16 {
        30
    }
}
