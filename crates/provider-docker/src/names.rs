//! Names and labels of engine objects: the whole state of the service, and its compatibility with the shell
//! scripts that came before it.
//!
//! ```text
//! network    clarateach-{workshop}                 clarateach.type=workshop-network   .workshop
//! container  clarateach-{workshop}-{seat}          clarateach.type=learner-workspace  .workshop .seat
//! volume     clarateach-{workshop}-{seat}-data     clarateach.type=workspace-data     .workshop .seat
//! ```
//!
//! Names are only ever written. Whose an object is, is read from its labels: `clarateach-a-1` could be seat 1 of
//! workshop `a`, or the network of a workshop `a-1`.

use std::collections::HashMap;

use seats::{SeatBound, SeatRef, WorkshopId};

/// What kind of object it is; set by the scripts and by us.
pub(crate) const TYPE: &str = "clarateach.type";
/// Which workshop it belongs to.
pub(crate) const WORKSHOP: &str = "clarateach.workshop";
/// Which seat it belongs to.
pub(crate) const SEAT: &str = "clarateach.seat";
/// Which attempt made it: how an undo finds what it made, even when the engine's answer was lost.
pub(crate) const CREATE_ID: &str = "clarateach.create-id";
/// The image reference asked for. The engine shows an id instead of the name once the tag has moved on.
pub(crate) const IMAGE: &str = "clarateach.image";
/// The ports that the workspace listens on. The engine shows none for a container that does not run.
pub(crate) const PORTS: &str = "clarateach.ports";
/// The names (never the values) of the variables that the caller added.
pub(crate) const ENV: &str = "clarateach.env";

/// The limits that it was asked for.
pub(crate) const LIMITS: &str = "clarateach.limits";

pub(crate) const TYPE_NETWORK: &str = "workshop-network";
pub(crate) const TYPE_CONTAINER: &str = "learner-workspace";
pub(crate) const TYPE_VOLUME: &str = "workspace-data";

/// The proxy network that the scripts attached every seat to.
pub(crate) const SHARED_NETWORK: &str = "workspace_clarateach-net";

pub(crate) type Labels = HashMap<String, String>;

pub(crate) fn network(workshop: &WorkshopId) -> String {
    format!("clarateach-{workshop}")
}

/// The name of the host's bridge for a workshop: at most 15 bytes (`IFNAMSIZ`), and always the same, so that the
/// engine refuses a second network for the same workshop.
pub(crate) fn bridge(workshop: &WorkshopId) -> String {
    let digest =
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, network(workshop).as_bytes()).simple().to_string();
    format!("ct-{}", &digest[..12])
}

pub(crate) fn container(seat: &SeatRef) -> String {
    format!("clarateach-{}-{}", seat.workshop, seat.seat)
}

pub(crate) fn volume(seat: &SeatRef) -> String {
    format!("clarateach-{}-{}-data", seat.workshop, seat.seat)
}

/// The labels that make an object ours.
pub(crate) fn workshop_labels(kind: &str, workshop: &WorkshopId) -> Labels {
    HashMap::from([(TYPE.to_owned(), kind.to_owned()), (WORKSHOP.to_owned(), workshop.to_string())])
}

pub(crate) fn seat_labels(kind: &str, seat: &SeatRef) -> Labels {
    let mut labels = workshop_labels(kind, &seat.workshop);
    labels.insert(SEAT.to_owned(), seat.seat.to_string());
    labels
}

/// Those of a seat's object that one attempt made.
pub(crate) fn made_labels(kind: &str, seat: &SeatRef, create_id: &str) -> Labels {
    let mut labels = seat_labels(kind, seat);
    labels.insert(CREATE_ID.to_owned(), create_id.to_owned());
    labels
}

/// Whether an object carries all of `wanted`.
pub(crate) fn carries(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The filter of a list call that finds the objects which carry all of `wanted`.
pub(crate) fn filter(wanted: &Labels) -> HashMap<String, Vec<String>> {
    let labels = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    HashMap::from([("label".to_owned(), labels)])
}

/// Whose a container is, from its labels; `None` when they do not say it in the one right spelling.
pub(crate) fn owner(labels: &Labels) -> Option<SeatRef> {
    let workshop = labels.get(WORKSHOP)?.parse().ok()?;
    let seat = SeatBound::widest().parse(labels.get(SEAT)?).ok()?;
    Some(SeatRef::new(workshop, seat))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(workshop: &str, number: u64) -> SeatRef {
        SeatRef::new(workshop.parse().unwrap(), SeatBound::default().seat(number).unwrap())
    }

    #[test]
    fn names_are_those_of_the_scripts() {
        let one = seat("rust-101", 7);
        assert_eq!(network(&one.workshop), "clarateach-rust-101");
        assert_eq!(container(&one), "clarateach-rust-101-7");
        assert_eq!(volume(&one), "clarateach-rust-101-7-data");
    }

    #[test]
    fn a_bridge_is_named_after_its_workshop_alone() {
        let of = |text: &str| bridge(&text.parse().unwrap());
        assert_eq!(of("rust-101"), "ct-b264759e4c14");
        assert_ne!(of("rust-101"), of("rust-102"));
        assert!(of("12345678901234567890").len() <= 15);
    }

    #[test]
    fn the_owner_is_read_from_labels_alone() {
        let one = seat("rust-101", 7);
        let labels = seat_labels(TYPE_CONTAINER, &one);
        assert_eq!(labels[TYPE], "learner-workspace");
        assert_eq!(owner(&labels), Some(one));
        for (key, value) in [(SEAT, "07"), (SEAT, "0"), (WORKSHOP, "Rust"), (WORKSHOP, "")] {
            let mut spoiled = labels.clone();
            spoiled.insert(key.to_owned(), value.to_owned());
            assert_eq!(owner(&spoiled), None, "{key}={value}");
        }
    }

    #[test]
    fn one_missing_label_makes_it_foreign() {
        let wanted = seat_labels(TYPE_VOLUME, &seat("abc", 1));
        let mut labels = wanted.clone();
        labels.insert("else".into(), "where".into());
        assert!(carries(&labels, &wanted));
        labels.remove(TYPE);
        assert!(!carries(&labels, &wanted));
    }
}
