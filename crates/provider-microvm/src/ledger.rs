//! What is given out once on a host: subnets, addresses, user numbers, memory.
//!
//! All of it is read from the records of all seats, under one lock, and is taken by writing the record of the next. So it is
//! taken for as long as its owner has a record, and that is until its owner is known to be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use seats::{ObjectKind, ProviderError, Scope, SeatRef, SeatSpec, Stage, WorkshopId};

use crate::core::{Core, blocking};
use crate::edges::{NetError, Port, WorkshopNet};
use crate::fail;
use crate::images::Ready;
use crate::records::{Address, Mac, Made, SeatRecord, Unreadable, Wiring, Wish, WorkshopRecord};
use crate::state::StateDir;
use crate::vmm::{Identity, Monitor as _, Qemu};

/// Everything that is given out, as the records have it.
#[derive(Debug, Default)]
struct Books {
    /// Memory that is promised, in MiB, monitors included.
    promised_mib: u64,
    /// How many seats it is promised to.
    seats: usize,
    /// By workshop, its subnet.
    subnets: Vec<(WorkshopId, Ipv4Net)>,
    /// Addresses of seats.
    addresses: BTreeSet<Ipv4Addr>,
    /// Users of seats.
    uids: BTreeSet<u32>,
    /// The memory under seats that go on from a snapshot, in MiB, by the snapshot's opening: it stays with the last of them, whoever opened it.
    snapshots: BTreeMap<String, u32>,
    /// The same of those that this service holds itself.
    held: BTreeMap<String, u32>,
    /// Seats whose records cannot be read, although something may run for them. What their VMs tell of themselves is counted above; their addresses are not known.
    unknown: Vec<SeatRef>,
}

impl Core {
    /// Gives a seat what it needs and writes its record: from here on it is owned. `kept` is whether its workspace is there.
    pub(crate) async fn allot(
        &self,
        spec: &SeatSpec,
        ready: &Ready,
        kept: bool,
    ) -> Result<(SeatRecord, WorkshopNet), ProviderError> {
        let seat = &spec.seat;
        let io = |doing: &'static str| fail::io(fail::seat(seat), Stage::Check, doing);
        let _turn = self.locks.turn(self.state.ledger_lock()).await.map_err(io("waiting for the ledger"))?;
        self.demand_folder(seat, kept)?;
        let mut books = self.books().await.map_err(io("reading the records"))?;
        self.demand_memory(spec, &mut books)?;
        if let Some(unknown) = books.unknown.iter().find(|unknown| unknown.workshop == seat.workshop) {
            let detail = format!(
                "the record of seat {unknown} cannot be read, and its VM may still use an address of the workshop; \
                 destroy that seat first"
            );
            return Err(ProviderError::Refused { for_whom: fail::seat(seat), detail });
        }
        let workshop = self.workshop_record(seat, &books).await?;
        let shown = self.edges.network.addresses().await;
        let shown = shown.map_err(fail::net(fail::seat(seat), Stage::Network))?;
        let ip = free_address(&workshop, &books, &shown)?;
        let uid = self.free_user(seat, &books, None).await?;
        let made = Made {
            id: crate::random::hex::<32>().map_err(io("making an id"))?,
            host_boot: self.edges.host.boot_id().map_err(io("reading the host's boot id"))?,
            wish: Wish::of(spec).map_err(io("writing down the wish"))?,
            rootfs: ready.entry().clone(),
            ports: seats::workspace::exposed_ports(&ready.image().config.exposed_ports),
            address: Address { ip, mac: Mac::of(ip), tap: self.edges.network.tap(seat) },
            uid,
            data_was_kept: kept,
            overhead_mib: self.overhead_mib(spec.limits.memory_mib),
        };
        let record = SeatRecord::creating(seat, made);
        let (state, written, of) = (self.state.clone(), record.clone(), workshop.clone());
        let write = move || -> std::io::Result<()> {
            let (whole, folder) = (state.workshop(&of.workshop), state.seat(&written.of()));
            whole.make()?;
            // It waits for the disk, once for a workshop.
            if WorkshopRecord::read(&whole).ok().flatten().as_ref() != Some(&of) {
                of.write(&whole)?;
            }
            folder.make()?;
            written.write(&folder)
        };
        if let Err(why) = blocking(write).await {
            // Nothing was made yet, so what was written of the records can go. It is the first error that is told.
            if !kept {
                let folder = self.state.seat(seat);
                drop(crate::records::remove(&folder.record()));
                drop(folder.empty(false));
                drop(folder.remove());
            }
            drop(self.close_books(&seat.workshop).await);
            return Err(io("writing the seat's record")(why));
        }
        let net = self.net_of(&workshop);
        Ok((record, net))
    }

    /// Gives a seat that is started again what its monitor is to have as things are configured now, and writes its record: a user of its own, or none. Nothing
    /// of the seat may run any more.
    pub(crate) async fn allot_again(&self, record: &mut SeatRecord) -> Result<(), ProviderError> {
        let seat = record.of();
        let io = |doing: &'static str| fail::io(fail::seat(&seat), Stage::Check, doing);
        let _turn = self.locks.turn(self.state.ledger_lock()).await.map_err(io("waiting for the ledger"))?;
        let books = self.books().await.map_err(io("reading the records"))?;
        let uid = self.free_user(&seat, &books, record.uid).await?;
        if uid != record.uid {
            // The TAP device is for its owner alone, who is given to it when it is made. Before the record says that there is another, so that this is done
            // again when it fails.
            let removed = self.edges.network.remove_port(&seat).await;
            removed.map_err(fail::net(fail::seat(&seat), Stage::Network))?;
        }
        record.uid = uid;
        record.overhead_mib = Some(self.overhead_mib(record.wish.limits.memory_mib));
        self.write(record, Stage::Check).await
    }

    /// The network of a seat that has a record.
    pub(crate) async fn network_of(&self, seat: &SeatRef) -> Result<WorkshopNet, ProviderError> {
        let io = fail::io(fail::seat(seat), Stage::Network, "waiting for the ledger");
        let _turn = self.locks.turn(self.state.ledger_lock()).await.map_err(io)?;
        let folder = self.state.workshop(&seat.workshop);
        match WorkshopRecord::read(&folder) {
            Ok(Some(record)) => Ok(self.net_of(&record)),
            Ok(None) => Err(self.workshop_trouble(&seat.workshop, "its record is gone")),
            Err(why) => Err(self.workshop_trouble(&seat.workshop, &why.to_string())),
        }
    }

    /// Refuses to go on where workshops are connected in another way than new ones would be: their network could neither be mended nor removed.
    pub(crate) fn demand_one_wiring(&self) -> Result<(), String> {
        let wants_cni = self.edges.network.operators().is_some();
        let workshops =
            self.state.workshops().map_err(|why| format!("reading the workshops' folders: {why}"))?;
        for workshop in workshops {
            // A record that says nothing is told of its workshop.
            let Ok(Some(record)) = WorkshopRecord::read(&self.state.workshop(&workshop)) else { continue };
            let (has, other) = match record.wiring {
                Wiring::Bridge { .. } if wants_cni => ("a bridge", "bridge"),
                Wiring::Cni { .. } if !wants_cni => ("a CNI network", "cni"),
                _ => continue,
            };
            return Err(format!(
                "workshop {workshop} has {has}: set microvm.network = \"{other}\" again, and change it when no workshop is there"
            ));
        }
        Ok(())
    }

    /// The same for whom it is no matter that it may change: nobody is waited for, and a record that says nothing is none.
    pub(crate) fn known_network(&self, seat: &SeatRef) -> Option<WorkshopNet> {
        let record = WorkshopRecord::read(&self.state.workshop(&seat.workshop)).ok().flatten()?;
        Some(self.net_of(&record))
    }

    pub(crate) fn net_of(&self, record: &WorkshopRecord) -> WorkshopNet {
        WorkshopNet { workshop: record.workshop.clone(), wiring: record.wiring.clone() }
    }

    /// A seat's port on its workshop's bridge.
    pub(crate) fn port_of(record: &SeatRecord) -> Port {
        Port {
            seat: record.of(),
            tap: record.address.tap.clone(),
            mac: record.address.mac,
            address: record.address.ip,
            owner: record.uid,
        }
    }

    /// Removes the network and the record of a workshop that has no seat any more. Its ledger must be held.
    pub(crate) async fn close_books(&self, workshop: &WorkshopId) -> Result<(), ProviderError> {
        let whom = fail::workshop(workshop);
        let folder = self.state.workshop(workshop);
        let io = |doing: &'static str| fail::io(whom.clone(), Stage::Undo, doing);
        let seats = self.state.seats(&Scope::Workshop(workshop.clone())).map_err(io("reading its seats"))?;
        let is_there = seats.iter().any(|seat| {
            // What cannot be read may be anything.
            !matches!(SeatRecord::read(&self.state.seat(seat), seat), Ok(None))
                && !SeatRecord::read(&self.state.seat(seat), seat)
                    .is_ok_and(|record| record.is_some_and(|record| record.is_kept()))
        });
        if is_there {
            return Ok(());
        }
        match WorkshopRecord::read(&folder) {
            Ok(None) => {}
            found => {
                let subnet = found.ok().flatten().and_then(|record| record.wiring.subnet());
                let removed = self.edges.network.remove_workshop(workshop, subnet).await;
                removed.map_err(fail::net(whom.clone(), Stage::Network))?;
            }
        }
        crate::records::remove(&folder.record()).map_err(io("removing its record"))?;
        folder.remove().map_err(io("removing its folder"))
    }

    /// A folder without a record that has something in it is somebody else's.
    fn demand_folder(&self, seat: &SeatRef, kept: bool) -> Result<(), ProviderError> {
        if kept {
            return Ok(());
        }
        let folder = self.state.seat(seat);
        let read = fail::io(fail::seat(seat), Stage::Check, "reading the seat's folder");
        let strangers = folder.strangers().map_err(read)?;
        if strangers.is_empty() {
            return Ok(());
        }
        let is_data = strangers.iter().all(|name| name == "data.img");
        let (kind, name) = if is_data {
            (ObjectKind::Volume, folder.data())
        } else {
            (ObjectKind::Instance, folder.path().to_owned())
        };
        Err(ProviderError::Foreign { kind, name: name.display().to_string(), for_whom: fail::seat(seat) })
    }

    /// How much of the host's memory is promised to nobody, in MiB, once what is idle was closed for so much.
    pub(crate) async fn memory_left_mib(&self, needs: u32) -> std::io::Result<u64> {
        let may = self.edges.host.memory_mib()? * u64::from(self.config.memory_percent) / 100;
        let mut books = self.books().await?;
        self.close_idle_for(&mut books, needs.into(), may);
        Ok(may.saturating_sub(books.promised_mib + books.snapshots_mib()))
    }

    /// Closes snapshots that no seat goes on from, those that were not used for longest first, until so much memory can be promised. They stay on the disk.
    fn close_idle_for(&self, books: &mut Books, needs: u64, may: u64) {
        let idle = self.goldens.idle_mib(|opening| books.snapshots.contains_key(opening));
        if (books.promised_mib + books.snapshots_mib() + needs).saturating_sub(idle) > may {
            // It would not be enough.
            return;
        }
        while books.promised_mib + books.snapshots_mib() + needs > may {
            let used = &books.snapshots;
            let Some(opening) = self.goldens.close_idle(|opening| used.contains_key(opening)) else { return };
            books.held.remove(&opening);
        }
    }

    /// What the records have, and what this service holds itself.
    async fn books(&self) -> std::io::Result<Books> {
        // A record that does not say is of when there was QEMU alone.
        let (qemu, configured) = (Qemu::new(self.config.qemu()), self.config.overhead_mib);
        let overhead = move |guest_mib| configured.unwrap_or_else(|| qemu.memory_overhead_mib(guest_mib));
        let state = self.state.clone();
        let boot = self.edges.host.boot_id()?;
        let mut books = blocking(move || read(&state, &overhead, &boot)).await?;
        books.held = self.goldens.openings();
        Ok(books)
    }

    /// A user that neither a seat nor a process has, the one that the seat had where it is still one; nothing where monitors run as the service's own.
    async fn free_user(
        &self,
        seat: &SeatRef,
        books: &Books,
        had: Option<u32>,
    ) -> Result<Option<u32>, ProviderError> {
        let Some(first) = self.config.first_uid() else { return Ok(None) };
        // Records of another state folder, or those that are gone with their seat's VM still there, are told of by nobody else.
        let host = self.edges.host.clone();
        let busy = blocking(move || host.users_from(first)).await;
        let busy = busy.map_err(fail::io(fail::seat(seat), Stage::Check, "reading whose processes run"))?;
        // The last number is no user (chown(2): it leaves the owner as it is).
        let mut others = (first..u32::MAX).filter(|uid| !books.uids.contains(uid) && !busy.contains(uid));
        let free = had.filter(|uid| *uid >= first && !busy.contains(uid)).or_else(|| others.next());
        let full = || ProviderError::HostFull {
            for_whom: fail::seat(seat),
            detail: format!(
                "every user number from microvm.first_uid {first} on is a seat's, or has a process"
            ),
        };
        free.map(Some).ok_or_else(full)
    }

    fn demand_memory(&self, spec: &SeatSpec, books: &mut Books) -> Result<(), ProviderError> {
        let read = fail::io(fail::seat(&spec.seat), Stage::Check, "reading the host's memory");
        let host = self.edges.host.memory_mib().map_err(read)?;
        let percent = self.config.memory_percent;
        let may = host * u64::from(percent) / 100;
        let needs = u64::from(spec.limits.memory_mib) + u64::from(self.overhead_mib(spec.limits.memory_mib));
        self.close_idle_for(books, needs, may);
        let snapshots = books.snapshots_mib();
        if books.promised_mib + snapshots + needs <= may {
            return Ok(());
        }
        let held = if snapshots > 0 { format!(", and {snapshots} MiB to snapshots") } else { String::new() };
        let detail = format!(
            "it needs {needs} MiB of memory with its monitor, and {} of {may} MiB are promised to {} seats{held} \
             (microvm.memory_percent is {percent}, and the host has {host} MiB)",
            books.promised_mib, books.seats
        );
        Err(ProviderError::HostFull { for_whom: fail::seat(&spec.seat), detail })
    }

    /// The workshop's record, or what it is to be.
    async fn workshop_record(&self, seat: &SeatRef, books: &Books) -> Result<WorkshopRecord, ProviderError> {
        let workshop = &seat.workshop;
        match WorkshopRecord::read(&self.state.workshop(workshop)) {
            Ok(Some(record)) => return Ok(record),
            Ok(None) => {}
            Err(why) => return Err(self.workshop_trouble(workshop, &why.to_string())),
        }
        if let Some(cni_network) = self.edges.network.operators() {
            return Ok(WorkshopRecord::new(workshop.clone(), Wiring::Cni { cni_network }));
        }
        let prefix = self.config.subnet_prefix().map_err(|why| ProviderError::Refused {
            for_whom: fail::workshop(workshop),
            detail: why.to_string(),
        })?;
        let recorded: Vec<_> = books.subnets.iter().map(|(_, subnet)| *subnet).collect();
        let pool = self.config.pool;
        let free = self.edges.network.free_subnet(pool, prefix, &recorded).await;
        let subnet = free.map_err(|why| match why {
            NetError::Exhausted(detail) => {
                ProviderError::AddressesExhausted { workshop: workshop.clone(), detail }
            }
            why => fail::net(fail::workshop(workshop), Stage::Network)(why),
        })?;
        let bridge = self.edges.network.bridge(workshop);
        Ok(WorkshopRecord::new(workshop.clone(), Wiring::Bridge { bridge, subnet }))
    }

    fn workshop_trouble(&self, workshop: &WorkshopId, why: &str) -> ProviderError {
        let path = self.state.workshop(workshop).record();
        let detail = format!("{}: {why}; destroy the workshop and create it again", path.display());
        ProviderError::Refused { for_whom: fail::workshop(workshop), detail }
    }
}

/// An address of the workshop's that no seat has; none yet, where the operator's network gives one later. `shown` are those that the kernel knows: a
/// seat whose record says nothing has one of them for as long as its port is there.
fn free_address(
    workshop: &WorkshopRecord,
    books: &Books,
    shown: &BTreeSet<Ipv4Addr>,
) -> Result<Ipv4Addr, ProviderError> {
    let Some(subnet) = workshop.wiring.subnet() else { return Ok(Ipv4Addr::UNSPECIFIED) };
    let gateway = workshop.wiring.gateway();
    let is_taken = |ip: &Ipv4Addr| books.addresses.contains(ip) || shown.contains(ip);
    let free = subnet.hosts().find(|ip| Some(*ip) != gateway && !is_taken(ip));
    free.ok_or_else(|| ProviderError::AddressesExhausted {
        workshop: workshop.workshop.clone(),
        detail: format!("all addresses of its subnet {subnet} are in use"),
    })
}

impl Books {
    fn snapshots_mib(&self) -> u64 {
        // Most of those that it holds are under seats.
        let held = self.held.iter().filter(|(opening, _)| !self.snapshots.contains_key(*opening));
        self.snapshots.values().chain(held.map(|(_, mib)| mib)).map(|mib| u64::from(*mib)).sum()
    }

    /// What a seat's VM has whose record cannot be read, by its own word.
    fn add_unknown(&mut self, seat: SeatRef, vm: &Identity, boot: &str) {
        self.uids.extend(vm.user.map(|user| user.uid));
        // It ended with its run of the host.
        if vm.boot_id == boot {
            self.promised_mib += vm.memory_mib.unwrap_or_default();
            self.seats += 1;
        }
        self.unknown.push(seat);
    }
}

fn read(state: &StateDir, qemus_mib: &dyn Fn(u32) -> u32, boot: &str) -> std::io::Result<Books> {
    let mut books = Books::default();
    for workshop in state.workshops()? {
        if let Ok(Some(record)) = WorkshopRecord::read(&state.workshop(&workshop)) {
            books.subnets.extend(record.wiring.subnet().map(|subnet| (workshop, subnet)));
        }
    }
    for seat in state.seats(&Scope::All)? {
        match SeatRecord::read(&state.seat(&seat), &seat) {
            Ok(Some(record)) if !record.is_kept() => {
                let guest_mib = record.wish.limits.memory_mib;
                let overhead_mib = record.overhead_mib.unwrap_or_else(|| qemus_mib(guest_mib));
                books.promised_mib += u64::from(guest_mib) + u64::from(overhead_mib);
                books.seats += 1;
                books.addresses.insert(record.address.ip);
                books.uids.extend(record.uid);
                // What was in memory went with that run of the host.
                if let Some(restored) = record.restored.filter(|_| record.host_boot == boot) {
                    books.snapshots.insert(restored.opening, restored.memory_mib);
                }
            }
            Ok(_) => {}
            Err(why @ (Unreadable::Newer { .. } | Unreadable::Damaged(_) | Unreadable::Io(_))) => {
                tracing::warn!(%seat, %why, "what the seat has is not known");
                match state.seat(&seat).run().identity() {
                    Ok(None) => {}
                    Ok(Some(vm)) => books.add_unknown(seat, &vm, boot),
                    Err(why) => {
                        tracing::warn!(%seat, %why, "nor is what its VM has");
                        books.unknown.push(seat);
                    }
                }
            }
        }
    }
    Ok(books)
}
