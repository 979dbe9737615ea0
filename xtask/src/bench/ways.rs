//! The ways to make and destroy a class, seen alike.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bollard::Docker;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::net::TcpStream;

use super::floor::Floor;
use super::scripts::Scripts;
use super::service::Client;
use super::{objects, process, sweep};

/// Between two tries of a port.
const PROBE: Duration = Duration::from_millis(5);
/// How long a started seat may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two turns: the engine tidies up after itself.
const BREATH: Duration = Duration::from_millis(300);

/// Who makes the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase", tag = "way")]
pub(super) enum Way {
    /// The docker command line, serially.
    Scripts,
    /// Plain Engine API calls.
    Floor {
        /// How many seats at a time.
        width: usize,
        /// Whether it also waits until both ports of each seat answer.
        ready: bool,
    },
    /// The service over HTTP.
    Service,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scripts => f.write_str("scripts"),
            Self::Floor { width, ready: true } => write!(f, "floor, {width} wide, ready"),
            Self::Floor { width, ready: false } => write!(f, "floor, {width} wide"),
            Self::Service => f.write_str("service"),
        }
    }
}

/// Everything that the ways work with.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) docker: &'a Docker,
    pub(super) service: &'a Client,
    /// The processes of the engine.
    pub(super) engine: &'a [i32],
}

/// A class that was just made.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) addresses: Vec<IpAddr>,
    /// Milliseconds of each seat per stage, where that is told.
    pub(super) stages: BTreeMap<String, Vec<f64>>,
}

/// One turn of one way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turn {
    #[serde(flatten)]
    pub(super) way: Way,
    pub(super) seats: u16,
    pub(super) image: String,
    pub(super) create: Cost,
    pub(super) destroy: Cost,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) stages_ms: BTreeMap<String, Vec<f64>>,
    /// The engine would not let the network go, although nothing is attached to it: see [`super::sweep`].
    pub(super) stuck_network: bool,
}

/// What something took, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// On the clock.
    pub(super) wall_ms: f64,
    /// The service's processor time.
    pub(super) service_cpu_ms: f64,
    /// The processor time of dockerd and containerd.
    pub(super) engine_cpu_ms: f64,
}

impl Ground<'_> {
    /// Makes a class, waits until it answers, destroys it, and makes sure that nothing is left.
    pub(super) async fn turn(&self, way: Way, seats: u16, image: &str) -> Result<Turn> {
        let workshop = &sweep::workshop();
        let meter = Meter::start(self)?;
        let made = match way {
            Way::Scripts => Scripts { workshop }.create(seats, image).await?,
            Way::Floor { width, ready } => self.floor(workshop, width, ready).create(seats, image).await?,
            Way::Service => self.service.create(workshop, seats, image).await?,
        };
        let create = meter.stop(self)?;
        ensure!(
            made.addresses.len() == usize::from(seats),
            "{way}: {} of {seats} seats",
            made.addresses.len()
        );
        // Not measured: every way destroys a class that is up.
        try_join_all(made.addresses.iter().map(|ip| answers(*ip))).await?;
        tokio::time::sleep(BREATH).await;

        let meter = Meter::start(self)?;
        let destroyed = match way {
            Way::Scripts => Scripts { workshop }.destroy(seats).await,
            Way::Floor { width, ready } => self.floor(workshop, width, ready).destroy(seats).await,
            Way::Service => self.service.destroy(workshop).await,
        };
        let destroy = meter.stop(self)?;
        let stuck_network =
            sweep::judge(self.docker, workshop, destroyed).await.with_context(|| way.to_string())?;
        tokio::time::sleep(BREATH).await;
        Ok(Turn {
            way,
            seats,
            image: image.to_owned(),
            create,
            destroy,
            stages_ms: made.stages,
            stuck_network,
        })
    }

    fn floor<'a>(&'a self, workshop: &'a str, width: usize, ready: bool) -> Floor<'a> {
        Floor { docker: self.docker, workshop, width, ready }
    }
}

/// Waits until both ports of a seat take connections.
pub(super) async fn answers(ip: IpAddr) -> Result<()> {
    let began = Instant::now();
    for port in objects::PORTS {
        while let Err(error) = TcpStream::connect((ip, port)).await {
            ensure!(began.elapsed() < ANSWER, "{ip}:{port} does not answer: {error}");
            tokio::time::sleep(PROBE).await;
        }
    }
    Ok(())
}

/// The clocks, read at the beginning.
struct Meter {
    began: Instant,
    service: Duration,
    engine: Duration,
}

impl Meter {
    fn start(ground: &Ground<'_>) -> Result<Self> {
        let service = process::cpu_time(&[ground.service.id])?;
        let engine = process::cpu_time(ground.engine)?;
        Ok(Self { began: Instant::now(), service, engine })
    }

    fn stop(self, ground: &Ground<'_>) -> Result<Cost> {
        let wall = self.began.elapsed();
        let service = process::cpu_time(&[ground.service.id])?.saturating_sub(self.service);
        let engine = process::cpu_time(ground.engine)?.saturating_sub(self.engine);
        Ok(Cost { wall_ms: millis(wall), service_cpu_ms: millis(service), engine_cpu_ms: millis(engine) })
    }
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
