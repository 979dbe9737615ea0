//! Many seats one after another.

use std::collections::BTreeSet;
use std::fs;

use seats::SeatRef;

use crate::bed::{Bed, run};
use crate::isolated;

/// In each of two workshops, since an emulated machine uses one of the host's processors.
const EACH: u16 = 20;

/// Makes seats of a workshop, uses them, and takes them away; which addresses they had.
async fn seats_of(bed: &Bed, workshop: &str) -> Vec<std::net::IpAddr> {
    let mut addresses = Vec::new();
    for number in 1..=EACH {
        let seat = SeatRef { workshop: workshop.parse().unwrap(), seat: bed.seat(number).seat };
        let made = bed.running(&bed.spec(&seat, "latest")).await;
        addresses.push(made.ip.unwrap());
        bed.destroy(&seat).await;
        assert_eq!(bed.listed(&seat).await, None);
        assert!(!bed.folder(&seat).exists(), "{seat} left its folder");
    }
    addresses
}

/// How many files this process has open.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn forty_short_lived_seats_leave_nothing_behind() {
    isolated!(forty_short_lived_seats_leave_nothing_behind, || {
        run(&[], async |bed| {
            // What is opened once, for all.
            let first = bed.seat(1);
            bed.running(&bed.spec(&first, "latest")).await;
            bed.destroy(&first).await;
            let before = open();
            let (one, two) = tokio::join!(seats_of(bed, "one"), seats_of(bed, "two"));
            let all: Vec<_> = one.into_iter().chain(two).collect();
            let different: BTreeSet<_> = all.iter().collect();
            assert_eq!(all.len(), usize::from(2 * EACH));
            assert!(different.len() <= all.len() / 4, "addresses are not used again: {all:?}");
            let after = open();
            assert!(after <= before + 8, "{after} files are open, and {before} were after the first seat");
        });
    });
}
