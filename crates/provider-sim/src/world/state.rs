//! The objects of a world, and what an engine call does to them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use seats::{ImageRef, ObjectKind, SeatRef, SeatSpec, SpecDifference, WorkshopId};

use super::faults::Armed;
use super::process::Process;
use super::{EngineError, Inner, Latencies};
use crate::{SimImage, Step, instance_name, network_name, volume_name};

/// Which create made an object. An undo removes only what carries its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateId(u64);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) down: bool,
    pub(crate) networks: BTreeMap<WorkshopId, SimNetwork>,
    pub(crate) volumes: BTreeMap<SeatRef, SimVolume>,
    pub(crate) instances: BTreeMap<SeatRef, SimInstance>,
    /// Names taken by others. Kept apart, because nothing may ever touch them.
    pub(crate) foreign: Vec<(ObjectKind, String)>,
    /// By canonical reference.
    pub(crate) images: BTreeMap<String, SimImage>,
    pub(crate) pullable: BTreeMap<String, (SimImage, Duration)>,
    pub(crate) latencies: Latencies,
    pub(crate) faults: Vec<Armed>,
    pub(crate) calls: BTreeMap<Step, u64>,
    pub(crate) events: Vec<String>,
    serial: u64,
}

pub(crate) struct SimNetwork {
    subnet: u16,
}

pub(crate) struct SimVolume {
    made_by: CreateId,
    pub(crate) content: Option<String>,
}

pub(crate) struct SimInstance {
    made_by: CreateId,
    pub(crate) id: String,
    /// The one place that holds the seat's secrets, as a container's environment does.
    pub(crate) spec: SeatSpec,
    pub(crate) image: SimImage,
    pub(crate) ip: Ipv4Addr,
    pub(crate) created_at: Timestamp,
    pub(crate) run: Run,
    pub(crate) process: Option<Process>,
}

/// What the container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Made, never started.
    Created,
    /// Started; `overdue` when it was silent for longer than the start timeout.
    Running { answers: bool, overdue: bool },
    /// Ended by itself.
    Exited { code: i32, last_line: String },
    /// Ended on purpose.
    Stopped,
}

impl SimInstance {
    /// In what a wish differs from what is there, in the order of the request's fields.
    pub(crate) fn differences(&self, wish: &SeatSpec) -> Vec<SpecDifference> {
        let key = |spec: &SeatSpec| spec.api_key.as_ref().map(|key| key.expose().to_owned());
        let checks = [
            (self.spec.image != wish.image, SpecDifference::Image),
            (self.spec.env != wish.env, SpecDifference::Env),
            (self.spec.limits != wish.limits, SpecDifference::Limits),
            (key(&self.spec) != key(wish), SpecDifference::ApiKey),
        ];
        checks.into_iter().filter_map(|(differs, difference)| differs.then_some(difference)).collect()
    }

    /// What every workspace gets, what was asked for, and the key.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let seat = self.spec.seat.seat.get();
        let (number, container) = (seat.to_string(), format!("c-{seat:02}"));
        let always = [
            ("WORKSPACE_DIR", "/workspace"),
            ("TERM", "xterm-256color"),
            ("TERMINAL_PORT", "3001"),
            ("FILES_PORT", "3002"),
            ("AUTH_DISABLED", "false"),
            ("SEAT", number.as_str()),
            ("CONTAINER_ID", container.as_str()),
        ];
        let key = self.spec.api_key.as_ref().map(|key| ("ANTHROPIC_API_KEY", key.expose()));
        always
            .into_iter()
            .chain(self.spec.env.iter())
            .chain(key)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

impl State {
    pub(crate) fn next_create(&mut self) -> CreateId {
        self.serial += 1;
        CreateId(self.serial)
    }

    fn event(&mut self, text: String) {
        /// Enough for the tests; an endless simulation must not grow.
        const MOST: usize = 10_000;
        if self.events.len() < MOST {
            self.events.push(text);
        }
    }

    fn refuse_foreign(&self, kind: ObjectKind, name: String) -> Result<(), EngineError> {
        if self.foreign.iter().any(|(known, taken)| *known == kind && *taken == name) {
            return Err(EngineError::Foreign { kind, name });
        }
        Ok(())
    }

    pub(crate) fn ensure_network(&mut self, workshop: &WorkshopId, most: u16) -> Result<(), EngineError> {
        if self.networks.contains_key(workshop) {
            return Ok(());
        }
        self.refuse_foreign(ObjectKind::Network, network_name(workshop))?;
        let taken = |candidate: &u16| self.networks.values().any(|network| network.subnet == *candidate);
        let Some(subnet) = (0..most).find(|candidate| !taken(candidate)) else {
            return Err(EngineError::NoAddress(format!("all {most} networks of the pool are in use")));
        };
        self.event(format!("network create {}", network_name(workshop)));
        self.networks.insert(workshop.clone(), SimNetwork { subnet });
        Ok(())
    }

    pub(crate) fn ensure_volume(&mut self, seat: &SeatRef, made_by: CreateId) -> Result<(), EngineError> {
        if self.volumes.contains_key(seat) {
            return Ok(());
        }
        self.refuse_foreign(ObjectKind::Volume, volume_name(seat))?;
        self.event(format!("volume create {}", volume_name(seat)));
        self.volumes.insert(seat.clone(), SimVolume { made_by, content: None });
        Ok(())
    }

    /// Makes the container. Its network and volume are looked up again: a second service may have removed them
    /// since, and then the whole create is to be tried again.
    pub(crate) fn create(
        &mut self,
        spec: &SeatSpec,
        made_by: CreateId,
        addresses: u16,
    ) -> Result<(), EngineError> {
        let seat = &spec.seat;
        self.refuse_foreign(ObjectKind::Instance, instance_name(seat))?;
        if self.instances.contains_key(seat) || !self.volumes.contains_key(seat) {
            return Err(EngineError::Raced);
        }
        let Some(SimNetwork { subnet }) = self.networks.get(&seat.workshop) else {
            return Err(EngineError::Raced);
        };
        let Some(image) = self.images.get(spec.image.canonical()).cloned() else {
            return Err(EngineError::NoImage("no such image".into()));
        };
        let ip = |host: u16| {
            let [third, fourth] = (subnet * 64 + 2 + host).to_be_bytes();
            Ipv4Addr::new(10, 213, third, fourth)
        };
        let taken = |candidate: &Ipv4Addr| self.instances.values().any(|instance| instance.ip == *candidate);
        let Some(ip) = (0..addresses).map(ip).find(|candidate| !taken(candidate)) else {
            return Err(EngineError::NoAddress(format!(
                "all {addresses} addresses of its network are in use"
            )));
        };
        self.event(format!("container create {} image={}", instance_name(seat), spec.image));
        self.serial += 1;
        let instance = SimInstance {
            made_by,
            id: long_id(self.serial),
            spec: spec.clone(),
            image,
            ip,
            created_at: Timestamp::now(),
            run: Run::Created,
            process: None,
        };
        self.instances.insert(seat.clone(), instance);
        Ok(())
    }

    /// Starts the container; one that runs already is left as it is.
    pub(crate) fn start(&mut self, seat: &SeatRef, world: &Arc<Inner>) -> Result<(), EngineError> {
        let Some(instance) = self.instances.get_mut(seat) else {
            return Err(EngineError::Gone);
        };
        if matches!(instance.run, Run::Running { .. }) {
            return Ok(());
        }
        instance.process = Some(Process::start(world, instance)?);
        instance.run = Run::Running { answers: false, overdue: false };
        self.event(format!("container start {}", instance_name(seat)));
        Ok(())
    }

    /// Removes the container, when `only` that create made it or whoever did.
    pub(crate) fn remove_instance(&mut self, seat: &SeatRef, only: Option<CreateId>) {
        if self.instances.get(seat).is_some_and(|found| only.is_none_or(|create| create == found.made_by)) {
            self.instances.remove(seat);
            self.event(format!("container destroy {}", instance_name(seat)));
        }
    }

    /// Removes the volume, when `only` that create made it or whoever did.
    pub(crate) fn remove_volume(
        &mut self,
        seat: &SeatRef,
        only: Option<CreateId>,
    ) -> Result<(), EngineError> {
        if self.volumes.get(seat).is_some_and(|found| only.is_none_or(|create| create == found.made_by)) {
            if self.instances.contains_key(seat) {
                return Err(EngineError::InUse(format!("volume {} is in use", volume_name(seat))));
            }
            self.volumes.remove(seat);
            self.event(format!("volume destroy {}", volume_name(seat)));
        }
        Ok(())
    }

    pub(crate) fn remove_network(&mut self, workshop: &WorkshopId) -> Result<(), EngineError> {
        if self.instances.keys().any(|seat| seat.workshop == *workshop) {
            return Err(EngineError::InUse(format!("network {} has containers", network_name(workshop))));
        }
        if self.networks.remove(workshop).is_some() {
            self.event(format!("network destroy {}", network_name(workshop)));
        }
        Ok(())
    }

    pub(crate) fn has_image(&self, image: &ImageRef) -> bool {
        self.images.contains_key(image.canonical())
    }
}

/// 64 hexadecimal digits, as Docker's, that differ from their first digit on: people compare the first twelve.
fn long_id(serial: u64) -> String {
    (0..4u64)
        .map(|part| {
            // SplitMix64's finalizer (Steele, Lea and Flood, 2014): a bijection, so ids are as unique as serials.
            let mut bits = (serial * 4 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            format!("{:016x}", bits ^ (bits >> 31))
        })
        .collect()
}
