//! The least that a class can take on an engine: the calls that its objects need, and nothing else. Nothing is
//! checked, nothing is remembered, and a failure would leave all of it behind.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result, bail};
use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions, StartContainerOptions,
};
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;

use super::objects;
use super::ways::{Made, answers};

/// How many subnets the floor has, and the one that it takes next.
const SUBNETS: u16 = 512;
static NEXT_SUBNET: AtomicU16 = AtomicU16::new(0);

/// Plain calls, so many seats at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor<'a> {
    pub(super) docker: &'a Docker,
    pub(super) workshop: &'a str,
    pub(super) width: usize,
    /// Whether a seat counts only when its ports answer. That wait takes no place among the calls.
    pub(super) ready: bool,
}

impl Floor<'_> {
    /// The network, then per seat: volume, create, start, inspect.
    pub(super) async fn create(self, seats: u16, image: &str) -> Result<Made> {
        let network = self.make_network().await?;
        let places = Semaphore::new(self.width);
        let work = (1..=seats).map(|seat| self.make(seat, image, &network, &places));
        Ok(Made { addresses: try_join_all(work).await?, ..Made::default() })
    }

    async fn make_network(self) -> Result<String> {
        for _ in 0..SUBNETS {
            let number = NEXT_SUBNET.fetch_add(1, Ordering::Relaxed);
            match self.docker.create_network(objects::network(self.workshop, number)).await {
                Ok(made) => return Ok(made.id),
                // A network of an earlier run that the engine would not let go.
                Err(error) if error.to_string().contains("overlap") => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no subnet is free");
    }

    async fn make(self, seat: u16, image: &str, network: &str, places: &Semaphore) -> Result<IpAddr> {
        let place = places.acquire().await?;
        self.docker.create_volume(objects::volume(self.workshop, seat)).await?;
        let name = objects::container_name(self.workshop, seat);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = objects::container(self.workshop, seat, image, network);
        let id = self.docker.create_container(Some(options), body).await?.id;
        self.docker.start_container(&id, None::<StartContainerOptions>).await?;
        let inspected = self.docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
        drop(place);
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let ip = networks.into_values().next().and_then(|endpoint| endpoint.ip_address);
        let ip = ip.and_then(|ip| ip.parse().ok()).with_context(|| format!("{name} has no address"))?;
        if self.ready {
            answers(ip).await?;
        }
        Ok(ip)
    }

    /// Per seat: remove by force, volume; then the network.
    pub(super) async fn destroy(self, seats: u16) -> Result<()> {
        let places = Semaphore::new(self.width);
        try_join_all((1..=seats).map(|seat| self.remove(seat, &places))).await?;
        Ok(self.docker.remove_network(&objects::network_name(self.workshop)).await?)
    }

    async fn remove(self, seat: u16, places: &Semaphore) -> Result<()> {
        let _place = places.acquire().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        self.docker.remove_container(&objects::container_name(self.workshop, seat), Some(options)).await?;
        let volume = objects::volume_name(self.workshop, seat);
        Ok(self.docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?)
    }
}
