//! What the tests of this crate on a real engine share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use docker_testbed::{FaultProxy, Host, IMAGE, TestWorkshop};
use provider_docker::{DockerConfig, DockerProvider};
use seats::{EnvVars, Limits, SeatBound, SeatRef, SeatSpec, WorkshopId};

/// What a started workspace may take; one image of the testbed takes five seconds.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(12);

/// A configuration for the engine of this machine, in a corner of the pool away from any real service.
pub(crate) fn config(host: &Host) -> DockerConfig {
    DockerConfig {
        host: host.socket.to_str().unwrap().parse().unwrap(),
        pool: "10.214.0.0/16".parse().unwrap(),
        start_timeout: START_TIMEOUT,
        // One of these tests is about the guard; the others have no business with the packet filter.
        guard: provider_docker::GuardMode::Off,
        ..DockerConfig::default()
    }
}

pub(crate) fn provider(config: DockerConfig) -> Arc<DockerProvider> {
    DockerProvider::new(config).unwrap()
}

/// A provider whose wire to the engine a test can cut.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) proxy: FaultProxy,
    pub(crate) provider: Arc<DockerProvider>,
    pub(crate) workshop: TestWorkshop,
}

pub(crate) async fn bench() -> Bench {
    let host = Host::of_this_machine().await.unwrap();
    let proxy = FaultProxy::start(&host.socket).unwrap();
    let provider = through(&proxy, &host);
    Bench { host, proxy, provider, workshop: workshop() }
}

/// A provider that knows nothing yet, behind the proxy.
pub(crate) fn through(proxy: &FaultProxy, host: &Host) -> Arc<DockerProvider> {
    let socket = proxy.socket().to_str().unwrap().parse().unwrap();
    provider(DockerConfig { host: socket, ..config(host) })
}

/// A workshop id that no other test of this run uses.
pub(crate) fn workshop() -> TestWorkshop {
    TestWorkshop::new('t')
}

pub(crate) fn seat(workshop: &WorkshopId, number: u64) -> SeatRef {
    SeatRef::new(workshop.clone(), SeatBound::default().seat(number).unwrap())
}

/// A small seat of the testbed.
pub(crate) fn spec(seat: SeatRef) -> SeatSpec {
    SeatSpec {
        seat,
        image: IMAGE.parse().unwrap(),
        env: EnvVars::default(),
        limits: Limits { cpu_millis: 500, memory_mib: 64, pids: 64 },
        api_key: None,
    }
}
