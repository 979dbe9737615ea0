//! Making a seat: a list of steps, each with its undo.
//!
//! ```text
//!                                  ┌── pin ────────────┐
//!   check ──► image ──► record ────┼── network, port ──┼──► VM ──► agent ──► configured        (VM: golden)
//!     │                   │        └── disks ──────────┘    │        │
//!     │                   └────────────────┴────────────────┴────────┴── on failure, taken back by the record
//!     └── there already: compare; start its VM when that has ended, or lost its network
//! ```
//!
//! The record stands first and goes last, so the undo needs no list of what was done: it removes whatever the record could have
//! brought about, and can do so again. That is also what the next service does with what a killed one left. The secrets of a
//! seat are in the memory of this step alone and go over the link to its agent, so a guest that was started and not configured
//! cannot be finished by anybody else; it is taken back.

use std::sync::Arc;

use hostnet::PortState;
use seats::{Created, Disposition, Instance, ProviderError, SeatRef, SeatSpec, Stage};

use crate::core::{Core, blocking};
use crate::disks::{self, Sizes};
use crate::edges::{Place, Port, WorkshopNet};
use crate::fail;
use crate::golden::nobody;
use crate::images::Ready;
use crate::live::Live;
use crate::records::{Phase, SeatRecord};
use crate::tell::Tell;

/// How often a VM is made whose user had a process of somebody else's by the time that it was to start: of another service, which chose it as well.
const TRIES: u32 = 4;

impl Core {
    pub(crate) async fn make_or_find(
        self: Arc<Self>,
        spec: SeatSpec,
        tell: Tell,
    ) -> Result<Created, ProviderError> {
        tell.stage(Stage::Check);
        let _turn = self.turn(&spec.seat).await?;
        let found = self.record(&spec.seat).map_err(|why| fail::unreadable(&spec.seat, &why))?;
        let kept = match found {
            Some(record) => match record.phase {
                Phase::Started | Phase::Starting => return self.found(&spec, record, &tell).await,
                // Another's work, which was interrupted: whoever does it has the turn.
                Phase::Creating => {
                    self.dismantle(&spec.seat, Some(&record), record.data_was_kept).await?;
                    self.record(&spec.seat).is_ok_and(|record| record.is_some())
                }
                Phase::Destroying { keep } => {
                    self.dismantle(&spec.seat, Some(&record), keep).await?;
                    keep
                }
                Phase::Kept => true,
            },
            None => false,
        };
        let instance = self.make(&spec, kept, &tell).await?;
        Ok(Created { instance, disposition: Disposition::Made })
    }

    async fn make(&self, spec: &SeatSpec, kept: bool, tell: &Tell) -> Result<Instance, ProviderError> {
        self.demand_limits(spec)?;
        tell.stage(Stage::Image);
        let ready = self.images.ensure(&spec.image, &spec.seat, tell).await?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            tell.stage(Stage::Check);
            let (mut record, net) = self.allot(spec, &ready, kept).await?;
            tell.stage(Stage::Network);
            let error = match self.bring_up(&mut record, &net, &ready, spec, tell).await {
                Ok(live) => return Ok(self.fresh(&record, &live)),
                Err(error) => error,
            };
            tell.stage(Stage::Undo);
            if let Err(left) = self.dismantle(&spec.seat, Some(&record), kept).await {
                tracing::error!(seat = %spec.seat, %left, "a failed create left something behind; create or destroy the seat");
                return Err(error);
            }
            if tries == 0 || !fail::is_user_taken(&error) {
                return Err(error);
            }
            tracing::info!(seat = %spec.seat, %error, "another user is taken");
        }
    }

    /// What is already there for the seat, running again if its VM had ended.
    async fn found(
        &self,
        spec: &SeatSpec,
        mut record: SeatRecord,
        tell: &Tell,
    ) -> Result<Created, ProviderError> {
        let differences = record.wish.differences(spec);
        if !differences.is_empty() {
            return Err(ProviderError::Conflict { seat: spec.seat.clone(), differences });
        }
        let live = match record.phase {
            // Nobody has the turn, so the start was interrupted: its guest may have no configuration.
            Phase::Starting => None,
            _ => self.live(&record).await.map_err(fail::vmm(&spec.seat, Stage::Check))?,
        };
        let is_whole = match live {
            None => false,
            Some(_) => {
                let is_plugged = self.plugged(&record).await?;
                if !is_plugged {
                    // What it has in memory is to be on its disk before it goes.
                    tell.stage(Stage::Undo);
                    self.stop_orderly(&record).await;
                }
                is_plugged
            }
        };
        if !is_whole {
            self.start_again(&mut record, spec, tell).await?;
        }
        tell.stage(Stage::Inspect);
        let instance = self.judged(&record).await;
        Ok(Created { instance, disposition: Disposition::Found })
    }

    /// Whether a VM that runs is on its network, which is mended where that can be done under it. One whose TAP device was deleted
    /// holds nothing any more.
    async fn plugged(&self, record: &SeatRecord) -> Result<bool, ProviderError> {
        let seat = record.of();
        let Some(net) = self.known_network(&seat) else { return Ok(true) };
        let (network, port) = (&self.edges.network, Self::port_of(record));
        let refused = |why| fail::net(fail::seat(&seat), Stage::Network)(why);
        let state = network.port_state(&net, &port).await.map_err(refused)?;
        if state == PortState::Loose {
            network.ensure_workshop(&net).await.map_err(refused)?;
            network.ensure_port(&net, &port).await.map_err(refused)?;
            // A device that is down does not tell who holds it.
            return Ok(network.port_state(&net, &port).await.map_err(refused)? == PortState::Whole);
        }
        Ok(state == PortState::Whole)
    }

    /// Starts the VM of a seat again, over the disks that it had.
    async fn start_again(
        &self,
        record: &mut SeatRecord,
        spec: &SeatSpec,
        tell: &Tell,
    ) -> Result<(), ProviderError> {
        let seat = &spec.seat;
        self.demand_limits(spec)?;
        tell.stage(Stage::Image);
        let there =
            record.entry().map(|entry| self.images.entry(&entry)).transpose().ok().flatten().flatten();
        let ready = match there {
            Some(ready) => ready,
            None => {
                let ready = self.images.ensure(&spec.image, seat, tell).await?;
                record.rootfs = ready.entry().to_string();
                ready
            }
        };
        let boot_id = self.edges.host.boot_id();
        record.host_boot =
            boot_id.map_err(fail::io(fail::seat(seat), Stage::Check, "reading the host's boot id"))?;
        // Whoever has the seat's user from here on is somebody else.
        self.clear(seat).await?;
        record.started_at = jiff::Timestamp::now();
        record.phase = Phase::Starting;
        record.restored = None;
        let mut tries = TRIES;
        let started = loop {
            tries -= 1;
            let started = async {
                self.allot_again(record).await?;
                tell.stage(Stage::Network);
                let net = self.network_of(seat).await?;
                self.bring_up(record, &net, &ready, spec, tell).await.map(drop)
            };
            match started.await {
                Err(error) if tries > 0 && fail::is_user_taken(&error) => {
                    tracing::info!(%seat, %error, "another user is taken");
                    tell.stage(Stage::Undo);
                    if let Err(left) = self.clear(seat).await {
                        break Err(left);
                    }
                    tell.stage(Stage::Check);
                }
                ended => break ended,
            }
        };
        if let Err(error) = started {
            tell.stage(Stage::Undo);
            // The seat is there as it was before: with its data, and without a VM.
            let cleared = self.clear(seat).await;
            record.phase = Phase::Started;
            record.restored = None;
            let written = self.write(record, Stage::Undo).await;
            if let Err(left) = cleared.and(written) {
                tracing::error!(%seat, %left, "a failed start left something behind; create or destroy the seat");
            }
            return Err(error);
        }
        Ok(())
    }

    /// Ends what runs in a seat's folder, with all that belongs to it alone.
    pub(crate) async fn clear(&self, seat: &SeatRef) -> Result<(), ProviderError> {
        self.forget(seat);
        let cleared = self.edges.machines.clear(&seat.to_string(), &self.state.seat(seat).run()).await;
        cleared.map_err(fail::vmm(seat, Stage::Undo))?;
        let folder = self.state.seat(seat);
        let removed = blocking(move || nobody::remove(&folder)).await;
        removed.map_err(fail::io(
            fail::seat(seat),
            Stage::Undo,
            "removing the disks of a guest that was saved",
        ))
    }

    /// The steps from a record to a configured guest.
    async fn bring_up(
        &self,
        record: &mut SeatRecord,
        net: &WorkshopNet,
        ready: &Ready,
        spec: &SeatSpec,
        tell: &Tell,
    ) -> Result<Arc<Live>, ProviderError> {
        let seat = &spec.seat;
        let port = Self::port_of(record);
        // Side by side, because most of each is waiting for the host's disk or kernel; and each to its end, so that nothing is made any more when what
        // was made is taken back.
        let expected = self.edges.machines.expect();
        let plug = async {
            let plugged = self.plug(net, &port).await;
            tell.stage(Stage::Volume);
            plugged
        };
        let (pinned, plugged, made) = tokio::join!(self.pin(ready, seat), plug, self.make_disks(seat));
        let place = match pinned.and(plugged).and_then(|place| made.map(|()| place)) {
            Ok(place) => place,
            Err(why) => {
                expected.over().await;
                return Err(why);
            }
        };
        if (record.address.ip, record.address.mac) != (place.ip, place.mac) {
            // An operator's network gave it, or another one than the last time.
            (record.address.ip, record.address.mac) = (place.ip, place.mac);
            self.write(record, Stage::Network).await?;
        }
        tell.stage(Stage::Create);
        let vm = self.vm_spec(record, &place, ready)?;
        let config = |record: &SeatRecord| self.guest_config(record, &place, ready, spec);
        let up = self.come_up(record, &vm, ready, tell, config).await;
        expected.over().await;
        let live = up?;
        record.phase = Phase::Started;
        self.write(record, Stage::Inspect).await?;
        Ok(live)
    }

    /// Keeps the image for the seat.
    async fn pin(&self, ready: &Ready, seat: &SeatRef) -> Result<(), ProviderError> {
        let owner = self.images.owner(seat);
        let ready = ready.clone();
        let pinned = match owner {
            Ok(owner) => blocking(move || ready.pin(&owner)).await.map_err(|why| why.to_string()),
            Err(why) => Err(why),
        };
        pinned.map_err(|why| fail::failed(fail::seat(seat), Stage::Image, why, None))
    }

    /// Puts the seat on its workshop's network.
    async fn plug(&self, net: &WorkshopNet, port: &Port) -> Result<Place, ProviderError> {
        let failed = |why| fail::net(fail::seat(&port.seat), Stage::Network)(why);
        self.edges.network.ensure_workshop(net).await.map_err(failed)?;
        self.edges.network.ensure_port(net, port).await.map_err(failed)
    }

    async fn make_disks(&self, seat: &SeatRef) -> Result<(), ProviderError> {
        let io = |doing: &'static str| fail::io(fail::seat(seat), Stage::Volume, doing);
        let free =
            self.edges.host.free_bytes(self.state.folder()).map_err(io("asking for free space"))? >> 20;
        let least = u64::from(self.config.least_free_mib);
        if free < least {
            let detail = format!(
                "{} has {free} MiB left, and microvm.least_free_mib is {least}",
                self.state.folder().display()
            );
            return Err(ProviderError::HostFull { for_whom: fail::seat(seat), detail });
        }
        let folder = self.state.seat(seat);
        let mib = |mib: u32| u64::from(mib) << 20;
        let sizes = Sizes { scratch: mib(self.config.scratch_mib), data: mib(self.config.data_mib) };
        blocking(move || disks::ensure(&folder, sizes)).await.map_err(io("making the seat's disks"))
    }

    /// Refuses what no guest can be started with as things are configured now. A VM that runs keeps what it has.
    fn demand_limits(&self, spec: &SeatSpec) -> Result<(), ProviderError> {
        let (asked, least) = (spec.limits.memory_mib, self.config.least_memory_mib);
        if asked < least {
            let detail = format!(
                "memory_mib is {asked}, and a guest with less than {least} MiB (microvm.least_memory_mib) does not boot"
            );
            return Err(ProviderError::Refused { for_whom: fail::seat(&spec.seat), detail });
        }
        let (monitor, most) = (self.config.monitor, self.config.monitor.most_vcpus());
        if spec.limits.cpu_millis > u32::from(most) * 1000 {
            let detail = format!("cpus is above {most}, and a VM of {monitor} has at most {most} processors");
            return Err(ProviderError::Refused { for_whom: fail::seat(&spec.seat), detail });
        }
        Ok(())
    }
}
