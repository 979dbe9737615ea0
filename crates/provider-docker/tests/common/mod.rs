//! What the tests of this crate on a real engine share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use docker_testbed::{FaultProxy, Host, IMAGE, TestWorkshop};
use ipnet::Ipv4Net;
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
    pool: Ipv4Net,
    pub(crate) proxy: FaultProxy,
    pub(crate) provider: Arc<DockerProvider>,
    pub(crate) workshop: TestWorkshop,
}

pub(crate) async fn bench() -> Bench {
    let host = Host::of_this_machine().await.unwrap();
    let pool = own_pool();
    let (proxy, provider) = wire(&host, pool);
    Bench { host, pool, proxy, provider, workshop: workshop() }
}

impl Bench {
    /// A provider that knows nothing yet, on a wire of its own: what an earlier one still looks after in the background
    /// is not counted there.
    pub(crate) fn anew(&self) -> (FaultProxy, Arc<DockerProvider>) {
        wire(&self.host, self.pool)
    }
}

fn wire(host: &Host, pool: Ipv4Net) -> (FaultProxy, Arc<DockerProvider>) {
    let proxy = FaultProxy::start(&host.socket).unwrap();
    let socket = proxy.socket().to_str().unwrap().parse().unwrap();
    let provider = provider(DockerConfig { host: socket, pool, ..config(host) });
    (proxy, provider)
}

/// A part of the pool that no other test of this binary takes subnets from: one that was faster would cost a further
/// call, and the calls are counted.
fn own_pool() -> Ipv4Net {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let part = TAKEN.fetch_add(1, Ordering::Relaxed);
    format!("10.214.{}.0/22", part % 64 * 4).parse().unwrap()
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
