//! Names that seats have beside those of their network. They are only ever written: whose something is, is read from records.

use seats::SeatRef;

use crate::state::InstanceId;

/// The cgroup of a seat's VM, below the one of all seats.
pub(crate) fn cgroup(instance: &InstanceId, seat: &SeatRef) -> String {
    format!("{}-{}-{}", instance.short(), seat.workshop, seat.seat)
}

/// Who keeps an image in the store.
pub(crate) fn pin(instance: &InstanceId, seat: &SeatRef) -> String {
    format!("{}.{}.{}", instance.short(), seat.workshop, seat.seat)
}

#[cfg(test)]
mod tests {
    use seats::SeatBound;

    use super::*;
    use crate::state::StateDir;

    #[test]
    fn names_differ_by_folder_and_seat() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (StateDir::open(one.path()).unwrap(), StateDir::open(two.path()).unwrap());
        let workshop: seats::WorkshopId = "12345678901234567890".parse().unwrap();
        let seat = |number| SeatRef::new(workshop.clone(), SeatBound::widest().seat(number).unwrap());
        for name in [cgroup, pin] {
            assert_ne!(name(one.instance(), &seat(1)), name(two.instance(), &seat(1)));
            assert_ne!(name(one.instance(), &seat(1)), name(one.instance(), &seat(11)));
        }
        assert!(pin(one.instance(), &seat(9999)).parse::<rootfs::store::Owner>().is_ok());
    }
}
