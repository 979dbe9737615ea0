//! What the tests of the simulated provider share.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::time::Duration;

use provider_sim::{DEFAULT_IMAGE, SimProvider, World, WorldOptions};
use seats::{
    Created, EnvVars, Instance, Limits, Provider, ProviderError, SeatBound, SeatRef, SeatSpec, Timeline,
};

pub(crate) fn options() -> WorldOptions {
    WorldOptions { http: false, ..WorldOptions::default() }
}

pub(crate) fn world_of(options: WorldOptions) -> World {
    World::new(options)
}

pub(crate) fn world_with(start_timeout: Duration) -> World {
    world_of(WorldOptions { start_timeout, ..options() })
}

pub(crate) fn world() -> World {
    world_of(options())
}

pub(crate) fn seat_of(workshop: &str, number: u64) -> SeatRef {
    SeatRef::new(workshop.parse().unwrap(), SeatBound::default().seat(number).unwrap())
}

pub(crate) fn seat(number: u64) -> SeatRef {
    seat_of("rust-101", number)
}

pub(crate) fn spec(number: u64) -> SeatSpec {
    SeatSpec {
        seat: seat(number),
        image: DEFAULT_IMAGE.parse().unwrap(),
        env: EnvVars::default(),
        limits: Limits::default(),
        api_key: None,
    }
}

/// Prepares and creates, as a service does.
pub(crate) async fn create(provider: &SimProvider, spec: &SeatSpec) -> Result<Created, ProviderError> {
    let timeline = Timeline::default();
    provider.prepare(spec, &timeline).await?;
    provider.create(spec, &timeline).await
}

/// Creates and waits until it is decided what became of it.
pub(crate) async fn up(provider: &SimProvider, spec: &SeatSpec) -> Instance {
    let created = create(provider, spec).await.unwrap();
    provider.settle(&created.instance, Duration::from_secs(600)).await.unwrap()
}
