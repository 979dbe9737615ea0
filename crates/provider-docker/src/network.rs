//! One network per workshop.
//!
//! A network is made with the first seat and goes with the last. Creates of one workshop run side by side, so the
//! book keeps, per workshop and under one lock, who uses the network right now and what becomes of it should all of
//! them fail: a network that one of them made is taken back by the last; any other stays.

mod subnets;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions, ListNetworksOptionsBuilder};
use ipnet::Ipv4Net;
use seats::{ObjectKind, ProviderError, Stage, WorkshopId};
use tokio::sync::Mutex;

pub(crate) use self::subnets::Pool;
use crate::engine::{Engine, Whom, is_status, status};
use crate::names;

/// How long a network that was seen is believed to be there. A create that believed wrongly fails and is undone.
const SEEN_FOR: Duration = Duration::from_secs(2);

/// How many subnets are tried when other processes take the same ones at the same time.
const RACES: usize = 64;

/// A workshop's network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) id: String,
    /// Its addresses; the engine chose them when the scripts made it.
    pub(crate) subnet: Option<Ipv4Net>,
}

/// Whose network may go when no seat is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The one that an attempt made, by its create id.
    Attempt(String),
    /// Any that this service made. The scripts make theirs before the first seat.
    Service,
    /// Any with the workshop's labels.
    Anyone,
}

#[derive(Debug, Default)]
struct Page {
    users: usize,
    /// What the last user takes back if no create succeeds.
    taken_back: Option<Whose>,
    seen: Option<(Network, Instant)>,
}

/// What this process knows of the workshops' networks.
#[derive(Debug)]
pub(crate) struct Networks {
    pool: Pool,
    isolate_seats: bool,
    /// One allocation at a time in this process; between processes the engine refuses overlaps.
    allocation: Mutex<()>,
    book: std::sync::Mutex<HashMap<WorkshopId, Arc<Mutex<Page>>>>,
}

/// Between two looks for a network that another process is making.
const TWIN_PAUSE: Duration = Duration::from_millis(20);

/// How often a network is removed again that the engine calls in use while nothing is attached to it: somebody may be
/// detaching the last container at this moment. A busy engine takes seconds over it, so the pauses grow: about ten
/// seconds in all.
const DETACHING_TRIES: u32 = 12;
const DETACHING_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_DETACHING_PAUSE: Duration = Duration::from_secs(1);

/// Engines before 28.1 count endpoints apart from the endpoints themselves, and can lose count
/// (<https://github.com/moby/moby/issues/42119>). Nothing but a restart makes them count again.
const PHANTOM: &str = "no container is attached to it, yet the engine counts one; it lets the network go after a \
                       restart of the engine";

/// A place in the book; given back with [`Networks::keep`], [`Networks::take_back`] or [`Networks::abandon`].
#[derive(Debug)]
pub(crate) struct NetworkUse {
    workshop: WorkshopId,
    page: Arc<Mutex<Page>>,
}

impl Networks {
    pub(crate) fn new(pool: Pool, isolate_seats: bool) -> Self {
        Self { pool, isolate_seats, allocation: Mutex::default(), book: std::sync::Mutex::default() }
    }

    /// Registers a create as a user of the workshop's network, before it makes anything.
    pub(crate) async fn enter(&self, workshop: &WorkshopId) -> NetworkUse {
        let page = self.page(workshop);
        page.lock().await.users += 1;
        NetworkUse { workshop: workshop.clone(), page }
    }

    /// The workshop's network; makes it when it is not there.
    pub(crate) async fn ensure(
        &self,
        engine: &Engine,
        docker: &Docker,
        using: &NetworkUse,
        create_id: &str,
    ) -> Result<Network, ProviderError> {
        let mut page = using.page.lock().await;
        if let Some((network, at)) = &page.seen
            && at.elapsed() < SEEN_FOR
        {
            return Ok(network.clone());
        }
        let network = match self.find(engine, docker, &using.workshop).await? {
            Some(network) => network,
            None => {
                // Before the call: should its answer be lost, the undo still looks.
                page.taken_back = Some(Whose::Attempt(create_id.to_owned()));
                self.make(engine, docker, &using.workshop, create_id).await?
            }
        };
        page.seen = Some((network.clone(), Instant::now()));
        Ok(network)
    }

    /// A create succeeded: the network has a seat.
    pub(crate) async fn keep(&self, using: &NetworkUse) {
        let mut page = using.page.lock().await;
        page.users = page.users.saturating_sub(1);
        page.taken_back = None;
    }

    /// A create failed: the last user takes back what none of them needs. Can be repeated after an error.
    pub(crate) async fn take_back(
        &self,
        engine: &Engine,
        docker: &Docker,
        using: &NetworkUse,
    ) -> Result<(), ProviderError> {
        let mut page = using.page.lock().await;
        page.seen = None;
        if page.users <= 1
            && let Some(whose) = page.taken_back.clone()
        {
            self.remove_empty(engine, docker, &using.workshop, &whose).await?;
            page.taken_back = None;
        }
        page.users = page.users.saturating_sub(1);
        Ok(())
    }

    /// A create failed, and what it made could not be taken back.
    pub(crate) async fn abandon(&self, using: &NetworkUse) {
        let mut page = using.page.lock().await;
        page.users = page.users.saturating_sub(1);
        page.seen = None;
    }

    /// Removes the network of a workshop that has no seat any more; leaves it to those who use it otherwise.
    pub(crate) async fn remove_if_empty(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
        whose: Whose,
    ) -> Result<(), ProviderError> {
        let page = self.page(workshop);
        let mut page = page.lock().await;
        page.seen = None;
        if page.users > 0 {
            page.taken_back.get_or_insert(whose);
            return Ok(());
        }
        self.remove_empty(engine, docker, workshop, &whose).await
    }

    async fn remove_empty(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
        whose: &Whose,
    ) -> Result<(), ProviderError> {
        let wanted = names::workshop_labels(names::TYPE_CONTAINER, workshop);
        let seats = engine.containers(docker, &wanted, Stage::Network, &Whom::Workshop(workshop)).await?;
        if !seats.is_empty() {
            return Ok(());
        }
        match self.remove(engine, docker, workshop, whose).await {
            // Somebody attached a container of their own: the network is theirs until they leave.
            Err(ProviderError::InUse { detail, .. }) => {
                tracing::info!(%workshop, detail, "the network of the empty workshop stays: it is in use");
                Ok(())
            }
            other => other,
        }
    }

    /// Removes the networks that carry the workshop's labels, as far as they may go.
    pub(crate) async fn remove(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
        whose: &Whose,
    ) -> Result<(), ProviderError> {
        let whom = Whom::Workshop(workshop);
        let wanted = names::workshop_labels(names::TYPE_NETWORK, workshop);
        let options = ListNetworksOptionsBuilder::default().filters(&names::filter(&wanted)).build();
        let listed = docker.list_networks(Some(options)).await;
        for network in listed.map_err(|error| engine.explain(error, Stage::Network, &whom))? {
            let maker = network.labels.and_then(|mut labels| labels.remove(names::CREATE_ID));
            let may_go = match whose {
                Whose::Attempt(id) => maker.as_ref() == Some(id),
                Whose::Service => maker.is_some(),
                Whose::Anyone => true,
            };
            let (Some(id), Some(name), true) = (network.id, network.name, may_go) else { continue };
            self.remove_one(engine, docker, workshop, &id, name).await?;
        }
        Ok(())
    }

    async fn remove_one(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
        id: &str,
        name: String,
    ) -> Result<(), ProviderError> {
        let whom = Whom::Workshop(workshop);
        let mut tries = 1..=DETACHING_TRIES;
        let mut pause = DETACHING_PAUSE;
        let detail = loop {
            match docker.remove_network(id).await {
                Ok(()) => {
                    tracing::info!(%workshop, network = name, "network removed");
                    return Ok(());
                }
                Err(error) if is_status(&error, 404) => return Ok(()),
                Err(error) if in_use(&error) => {}
                Err(error) => return Err(engine.explain(error, Stage::Network, &whom)),
            }
            let attached = self.attached(engine, docker, id, &whom).await?;
            if !attached.is_empty() {
                break format!("attached: {}", attached.join(", "));
            }
            if tries.next().is_none() {
                break PHANTOM.to_owned();
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_DETACHING_PAUSE);
        };
        Err(ProviderError::InUse { kind: ObjectKind::Network, name, for_whom: whom.to_string(), detail })
    }

    /// The names of the containers that are attached to a network.
    async fn attached(
        &self,
        engine: &Engine,
        docker: &Docker,
        id: &str,
        whom: &Whom<'_>,
    ) -> Result<Vec<String>, ProviderError> {
        let network = match docker.inspect_network(id, None::<InspectNetworkOptions>).await {
            Ok(network) => network,
            Err(error) if is_status(&error, 404) => return Ok(Vec::new()),
            Err(error) => return Err(engine.explain(error, Stage::Network, whom)),
        };
        let endpoints = network.containers.unwrap_or_default().into_iter();
        let mut who: Vec<String> = endpoints.map(|(id, endpoint)| endpoint.name.unwrap_or(id)).collect();
        who.sort();
        Ok(who)
    }

    async fn find(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
    ) -> Result<Option<Network>, ProviderError> {
        let whom = Whom::Workshop(workshop);
        let name = names::network(workshop);
        match docker.inspect_network(&name, None::<InspectNetworkOptions>).await {
            Ok(network) => {
                let wanted = names::workshop_labels(names::TYPE_NETWORK, workshop);
                if names::carries(&network.labels.unwrap_or_default(), &wanted) {
                    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
                    let subnet = configs.into_iter().find_map(|config| config.subnet?.parse().ok());
                    return Ok(network.id.map(|id| Network { id, subnet }));
                }
                Err(ProviderError::Foreign { kind: ObjectKind::Network, name, for_whom: whom.to_string() })
            }
            Err(error) if is_status(&error, 404) => Ok(None),
            Err(error) => Err(engine.explain(error, Stage::Network, &whom)),
        }
    }

    async fn make(
        &self,
        engine: &Engine,
        docker: &Docker,
        workshop: &WorkshopId,
        create_id: &str,
    ) -> Result<Network, ProviderError> {
        let whom = Whom::Workshop(workshop);
        let _one_at_a_time = self.allocation.lock().await;
        let mut taken = self.taken(engine, docker, &whom).await?;
        taken.extend(subnets::host_routes(&self.pool));
        for _ in 0..RACES {
            let Some(subnet) = self.pool.first_free(&taken) else {
                return Err(ProviderError::AddressesExhausted {
                    workshop: workshop.clone(),
                    detail: format!("in use: {}", self.pool),
                });
            };
            match docker.create_network(self.request(workshop, create_id, subnet)).await {
                Ok(made) => {
                    tracing::info!(%workshop, %subnet, "network made");
                    return Ok(Network { id: made.id, subnet: Some(subnet) });
                }
                // Another process was faster: with this subnet, or with the very network. That one may take a
                // moment until it can be found.
                Err(error) if overlaps(&error) => {
                    tracing::debug!(%workshop, %subnet, %error, "another network is there");
                    taken.push(subnet);
                }
                Err(error) if is_twin(&error) => match self.find(engine, docker, workshop).await? {
                    Some(network) => return Ok(network),
                    None => tokio::time::sleep(TWIN_PAUSE).await,
                },
                Err(error) => return Err(engine.explain(error, Stage::Network, &whom)),
            }
        }
        let detail = format!("{RACES} times another process was faster; there are {}", self.pool);
        Err(ProviderError::AddressesExhausted { workshop: workshop.clone(), detail })
    }

    fn request(&self, workshop: &WorkshopId, create_id: &str, subnet: Ipv4Net) -> NetworkCreateRequest {
        let mut labels = names::workshop_labels(names::TYPE_NETWORK, workshop);
        labels.insert(names::CREATE_ID.to_owned(), create_id.to_owned());
        let icc = (!self.isolate_seats).to_string();
        NetworkCreateRequest {
            name: names::network(workshop),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() }]),
                ..Ipam::default()
            }),
            options: Some(HashMap::from([
                ("com.docker.network.bridge.enable_icc".to_owned(), icc),
                ("com.docker.network.bridge.name".to_owned(), names::bridge(workshop)),
            ])),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        }
    }

    /// How many workshops the pool still has room for.
    pub(crate) async fn free(&self, engine: &Engine, docker: &Docker) -> Result<usize, ProviderError> {
        let mut taken = self.taken(engine, docker, &Whom::Host).await?;
        taken.extend(subnets::host_routes(&self.pool));
        Ok(self.pool.free(&taken))
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The subnets of every network on the engine.
    async fn taken(
        &self,
        engine: &Engine,
        docker: &Docker,
        whom: &Whom<'_>,
    ) -> Result<Vec<Ipv4Net>, ProviderError> {
        let listed = docker.list_networks(None::<ListNetworksOptions>).await;
        let listed = listed.map_err(|error| engine.explain(error, Stage::Network, whom))?;
        let configs = listed.into_iter().filter_map(|network| network.ipam?.config).flatten();
        Ok(configs.filter_map(|config| config.subnet?.parse().ok()).collect())
    }

    fn page(&self, workshop: &WorkshopId) -> Arc<Mutex<Page>> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        // Pages that nobody holds and that say nothing are torn out, or the book would grow with every name.
        book.retain(|_, page| {
            Arc::strong_count(page) > 1
                || page.try_lock().is_ok_and(|page| page.users > 0 || page.taken_back.is_some())
        });
        book.entry(workshop.clone()).or_default().clone()
    }
}

/// The engine has no status of its own for this, only the text (20.10: 403; later versions: 400).
fn overlaps(error: &bollard::errors::Error) -> bool {
    status(error).is_some_and(|(_, message)| message.to_lowercase().contains("overlap"))
}

/// The engine lets two networks have one name (before API 1.44), and then cannot start a container on either. It
/// never lets two have one bridge.
fn is_twin(error: &bollard::errors::Error) -> bool {
    is_status(error, 409) || status(error).is_some_and(|(_, message)| message.contains("same bridge name"))
}

fn in_use(error: &bollard::errors::Error) -> bool {
    status(error).is_some_and(|(_, message)| message.contains("active endpoints"))
}
