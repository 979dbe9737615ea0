//! What tests do to a world and read from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use seats::{ImageRef, Limits, ObjectKind, SeatRef, WorkshopId};

use super::{Fault, Gate, Run, SimInstance, World};
use crate::{Inventory, SimImage, Step};

impl World {
    /// Puts an image on the host.
    pub fn add_image(&self, image: &ImageRef, does: SimImage) {
        self.state().images.insert(image.canonical().to_owned(), does);
    }

    /// Takes an image off the host. Seats made from it go on.
    pub fn remove_image(&self, image: &ImageRef) {
        self.state().images.remove(image.canonical());
    }

    /// Puts an image into the simulated registry, from where a pull takes this long.
    pub fn add_pullable(&self, image: &ImageRef, does: SimImage, takes: Duration) {
        self.state().pullable.insert(image.canonical().to_owned(), (does, takes));
    }

    /// Makes a step take this long from now on.
    pub fn set_latency(&self, step: Step, latency: Duration) {
        self.state().latencies.insert(step, latency);
    }

    /// Switches the engine off and on. While it is off every call fails; seats that run go on, and so does what
    /// they hold.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
        self.changed();
    }

    /// Makes calls fail.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault.failing());
    }

    /// Makes calls hang until the gate is released or dropped.
    #[must_use]
    pub fn hang(&self, fault: Fault) -> Gate {
        let (armed, gate) = fault.hanging();
        self.state().faults.push(armed);
        gate
    }

    /// Forgets every fault.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// How often a step was called so far, failed calls included, calls to a switched-off engine not.
    #[must_use]
    pub fn calls(&self, step: Step) -> u64 {
        self.state().calls.get(&step).copied().unwrap_or_default()
    }

    /// Everything that exists.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        Inventory::of(&self.state(), |_| true)
    }

    /// What exists for one workshop, and everything foreign.
    #[must_use]
    pub fn inventory_of(&self, workshop: &WorkshopId) -> Inventory {
        Inventory::of(&self.state(), |of| of == workshop)
    }

    /// Whether nothing of the service's is left. Foreign objects do not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inventory().is_empty()
    }

    /// Takes a name as somebody else would: an object without the service's labels.
    pub fn plant_foreign(&self, kind: ObjectKind, name: impl Into<String>) {
        self.state().foreign.push((kind, name.into()));
    }

    /// Whether such a foreign object is there.
    #[must_use]
    pub fn has_foreign(&self, kind: ObjectKind, name: &str) -> bool {
        self.state().foreign.iter().any(|(known, taken)| *known == kind && taken == name)
    }

    /// Its owner takes a foreign object away.
    pub fn remove_foreign(&self, kind: ObjectKind, name: &str) {
        self.state().foreign.retain(|(known, taken)| *known != kind || taken != name);
    }

    /// Writes a file to a seat's volume; `false` when there is no such volume.
    pub fn write_file(&self, seat: &SeatRef, content: impl Into<String>) -> bool {
        let mut state = self.state();
        let Some(volume) = state.volumes.get_mut(seat) else { return false };
        volume.content = Some(content.into());
        true
    }

    /// Reads that file back; `None` on a fresh volume, or without one.
    #[must_use]
    pub fn read_file(&self, seat: &SeatRef) -> Option<String> {
        self.state().volumes.get(seat)?.content.clone()
    }

    /// Stops a seat on purpose; `false` when it is not there.
    pub fn stop(&self, seat: &SeatRef) -> bool {
        self.end(seat, Run::Stopped)
    }

    /// Makes a seat's workspace end by itself; `false` when it is not there.
    pub fn crash(&self, seat: &SeatRef, code: i32, last_line: impl Into<String>) -> bool {
        self.end(seat, Run::Exited { code, last_line: last_line.into() })
    }

    fn end(&self, seat: &SeatRef, run: Run) -> bool {
        let found = match self.state().instances.get_mut(seat) {
            Some(instance) => {
                instance.process = None;
                instance.run = run;
                true
            }
            None => false,
        };
        self.changed();
        found
    }

    /// The environment inside a seat, secrets and all, as a program in it would see it.
    #[must_use]
    pub fn environment(&self, seat: &SeatRef) -> Option<BTreeMap<String, String>> {
        self.state().instances.get(seat).map(SimInstance::environment)
    }

    /// The limits that a seat is held to.
    #[must_use]
    pub fn limits(&self, seat: &SeatRef) -> Option<Limits> {
        self.state().instances.get(seat).map(|instance| instance.spec.limits)
    }

    /// Everything that an outsider can read here: what exists, the images it was made from and the events. Not
    /// the environment inside the seats, which is where their secrets are.
    #[must_use]
    pub fn surface(&self) -> String {
        let state = self.state();
        let mut text = format!("{:?}\n", Inventory::of(&state, |_| true));
        for (seat, instance) in &state.instances {
            let _ = writeln!(
                text,
                "{seat} {} {} {} {:?}",
                instance.id, instance.spec.image, instance.ip, instance.run
            );
        }
        for event in &state.events {
            let _ = writeln!(text, "{event}");
        }
        text
    }
}
