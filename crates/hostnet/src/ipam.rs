//! Which addresses a workshop and a seat get. Pure: what is taken is handed in.
//!
//! ```text
//!   pool    10.214.0.0/16 ─┬─ 10.214.0.0/25   workshop rust-101   .1 gateway (the bridge)   .2 … .126 seats
//!                          ├─ 10.214.0.128/25 workshop go-basics
//!                          └─ …
//! ```
//!
//! The lowest that is free is taken, whatever the seat's number: a number may come back while the old owner of its address is
//! not gone yet. What is taken comes from the records of all workshops and from the kernel's routes and addresses, so that a
//! subnet never shadows a network that the host already reaches.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The longest prefix of a workshop's subnet: room for the gateway and one seat.
pub const LONGEST_PREFIX: u8 = 30;

/// A range that somebody uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// The range.
    pub range: Ipv4Net,
    /// By whom, for a message: `workshop rust-101`, `a route of this host over wg0`.
    pub by: String,
}

/// Why there is no subnet or address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The prefix of a subnet does not fit the pool.
    #[error("a subnet of size /{prefix} is not possible in the pool {pool}: choose {} to /{LONGEST_PREFIX}", Shortest(*pool))]
    Prefix {
        /// The pool.
        pool: Ipv4Net,
        /// What was asked for.
        prefix: u8,
    },
    /// Every subnet overlaps with something.
    #[error(
        "no subnet of size /{prefix} is free in the address pool {pool}: {}; destroy a workshop or configure a wider pool",
        Takers(by)
    )]
    PoolFull {
        /// The pool.
        pool: Ipv4Net,
        /// The size of a subnet.
        prefix: u8,
        /// Who uses it, without repetition, at most a few.
        by: Vec<String>,
    },
    /// Every address of a subnet has an owner.
    #[error(
        "all {seats} addresses of the subnet {subnet} are taken; destroy a seat of the workshop, or make the workshop anew with a wider subnet"
    )]
    SubnetFull {
        /// The subnet.
        subnet: Ipv4Net,
        /// How many seats fit into it.
        seats: u32,
    },
}

struct Shortest(Ipv4Net);

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.prefix_len())
    }
}

struct Takers<'a>(&'a [String]);

impl fmt::Display for Takers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in use by {}", self.0.join(", "))
    }
}

/// How many takers an error names.
const NAMED: usize = 5;

/// The lowest subnet of the pool that overlaps nothing that is taken.
///
/// # Errors
/// [`IpamError::Prefix`] for a size that the pool cannot have, [`IpamError::PoolFull`] when nothing is free.
pub fn free_subnet(pool: Ipv4Net, prefix: u8, taken: &[Taken]) -> Result<Ipv4Net, IpamError> {
    if !(pool.prefix_len()..=LONGEST_PREFIX).contains(&prefix) {
        return Err(IpamError::Prefix { pool, prefix });
    }
    let mut ranges: Vec<(u32, u32)> = taken.iter().map(|taken| bounds(taken.range)).collect();
    ranges.sort_unstable();
    let size = 1u64 << (32 - prefix);
    let (first, last) = bounds(pool);
    let mut candidate = u64::from(first);
    // What is taken comes sorted, and the candidate only ever grows: one pass.
    for (from, to) in ranges.into_iter().map(|(from, to)| (u64::from(from), u64::from(to))) {
        if to < candidate {
            continue;
        }
        if from >= candidate + size {
            break;
        }
        candidate = (to + 1).next_multiple_of(size);
    }
    let network = u32::try_from(candidate).ok().filter(|_| candidate + size - 1 <= u64::from(last));
    network.map(|bits| Ipv4Net::new_assert(Ipv4Addr::from(bits), prefix)).ok_or_else(|| {
        let by: BTreeSet<&str> =
            taken.iter().filter(|taken| overlap(taken.range, pool)).map(|taken| taken.by.as_str()).collect();
        IpamError::PoolFull { pool, prefix, by: by.into_iter().take(NAMED).map(str::to_owned).collect() }
    })
}

/// The gateway of a subnet, which is the bridge's address: the first that a host can have.
#[must_use]
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1))
}

/// How many seats fit into a subnet: all its addresses without the network's, the gateway's and the broadcast one.
#[must_use]
pub fn seats(subnet: Ipv4Net) -> u32 {
    let (first, last) = bounds(subnet);
    (last - first).saturating_sub(2)
}

/// The longest prefix whose subnets hold so many seats.
#[must_use]
pub fn prefix_for(seats: u32) -> u8 {
    let mut prefix = LONGEST_PREFIX;
    while prefix > 1 && (1u64 << (32 - prefix)) - 3 < u64::from(seats) {
        prefix -= 1;
    }
    prefix
}

/// Whether a seat can have this address in this subnet.
#[must_use]
pub fn is_for_a_seat(address: Ipv4Addr, subnet: Ipv4Net) -> bool {
    subnet.contains(&address)
        && address > gateway(subnet)
        && (address < subnet.broadcast() && subnet.prefix_len() <= LONGEST_PREFIX)
}

/// The lowest address of the subnet that no seat has.
///
/// # Errors
/// [`IpamError::SubnetFull`] when each has an owner.
pub fn free_address(subnet: Ipv4Net, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, IpamError> {
    let first = u32::from(gateway(subnet)) + 1;
    (first..u32::from(subnet.broadcast()))
        .map(Ipv4Addr::from)
        .find(|address| !taken.contains(address))
        .ok_or_else(|| IpamError::SubnetFull { subnet, seats: seats(subnet) })
}

/// What is taken and overlaps this range: a pool that shares addresses with a network that the host already reaches.
#[must_use]
pub fn collisions(range: Ipv4Net, taken: &[Taken]) -> Vec<Taken> {
    taken.iter().filter(|taken| overlap(taken.range, range)).cloned().collect()
}

/// Whether two ranges share an address.
#[must_use]
pub fn overlap(one: Ipv4Net, two: Ipv4Net) -> bool {
    one.contains(&two.network()) || two.contains(&one.network())
}

fn bounds(range: Ipv4Net) -> (u32, u32) {
    (range.network().into(), range.broadcast().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn taken(ranges: &[&str]) -> Vec<Taken> {
        ranges.iter().map(|range| Taken { range: net(range), by: format!("test {range}") }).collect()
    }

    #[test]
    fn the_lowest_free_subnet_is_taken() {
        let pool = net("10.214.0.0/16");
        assert_eq!(free_subnet(pool, 25, &[]), Ok(net("10.214.0.0/25")));
        assert_eq!(free_subnet(pool, 25, &taken(&["10.214.0.0/25"])), Ok(net("10.214.0.128/25")));
        assert_eq!(
            free_subnet(pool, 25, &taken(&["10.214.0.200/32", "10.214.0.7/32"])),
            Ok(net("10.214.1.0/25"))
        );
        assert_eq!(
            free_subnet(pool, 25, &taken(&["10.214.0.128/25", "192.168.0.0/16"])),
            Ok(net("10.214.0.0/25"))
        );
    }

    #[test]
    fn a_route_around_the_pool_takes_all_of_it() {
        let error = free_subnet(net("10.214.0.0/16"), 25, &taken(&["10.0.0.0/8"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no subnet of size /25 is free in the address pool 10.214.0.0/16: in use by test 10.0.0.0/8; destroy a workshop or \
             configure a wider pool"
        );
    }

    #[test]
    fn the_last_subnet_of_all_addresses_can_be_had() {
        assert_eq!(
            free_subnet(net("255.255.255.0/24"), 25, &taken(&["255.255.255.0/25"])),
            Ok(net("255.255.255.128/25"))
        );
        assert!(
            free_subnet(net("255.255.255.0/24"), 25, &taken(&["255.255.255.255/32", "255.255.255.0/30"]))
                .is_err()
        );
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for prefix in [0, 15, 31, 32, 200] {
            assert!(matches!(free_subnet(net("10.214.0.0/16"), prefix, &[]), Err(IpamError::Prefix { .. })));
        }
    }

    #[test]
    fn seats_come_after_the_gateway() {
        let subnet = net("10.214.0.128/30");
        assert_eq!(gateway(subnet), Ipv4Addr::new(10, 214, 0, 129));
        assert_eq!(free_address(subnet, &BTreeSet::new()), Ok(Ipv4Addr::new(10, 214, 0, 130)));
        let error = free_address(subnet, &[Ipv4Addr::new(10, 214, 0, 130)].into()).unwrap_err();
        assert!(
            error.to_string().starts_with("all 1 addresses of the subnet 10.214.0.128/30 are taken"),
            "{error}"
        );
    }

    #[test]
    fn prefixes_hold_what_is_asked_for() {
        assert_eq!([1, 5, 29, 100, 125, 126].map(prefix_for), [30, 29, 27, 25, 25, 24]);
        assert_eq!(prefix_for(u32::MAX), 1);
    }

    fn any_net() -> impl Strategy<Value = Ipv4Net> {
        (any::<u32>(), 1u8..=32).prop_map(|(bits, prefix)| Ipv4Net::new(bits.into(), prefix).unwrap().trunc())
    }

    /// Ranges near a pool, so that most of them matter.
    fn near(pool: Ipv4Net) -> impl Strategy<Value = Vec<Taken>> {
        let first = u32::from(pool.network());
        let one = (0u32..=0x1ffff, 14u8..=32).prop_map(move |(offset, prefix)| {
            let range = Ipv4Net::new(first.wrapping_add(offset).into(), prefix).unwrap().trunc();
            Taken { range, by: "test".to_owned() }
        });
        proptest::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn a_subnet_is_the_lowest_that_overlaps_nothing(
            (prefix, taken) in (16u8..=30).prop_flat_map(|prefix| (Just(prefix), near("10.214.0.0/16".parse().unwrap())))
        ) {
            let pool = net("10.214.0.0/16");
            let slow = pool.subnets(prefix).unwrap().find(|subnet| collisions(*subnet, &taken).is_empty());
            prop_assert_eq!(free_subnet(pool, prefix, &taken).ok(), slow);
        }

        #[test]
        fn any_input_gives_an_answer(pool in any_net(), prefix in any::<u8>(), others in proptest::collection::vec(any_net(), 0..8)) {
            let taken: Vec<_> = others.into_iter().map(|range| Taken { range, by: "test".to_owned() }).collect();
            if let Ok(subnet) = free_subnet(pool, prefix, &taken) {
                prop_assert!(pool.contains(&subnet) && collisions(subnet, &taken).is_empty());
            }
        }

        #[test]
        fn a_subnet_is_used_to_its_last_address(prefix in 24u8..=30, bits in any::<u32>()) {
            let subnet = Ipv4Net::new(bits.into(), prefix).unwrap().trunc();
            let mut taken = BTreeSet::new();
            while let Ok(address) = free_address(subnet, &taken) {
                prop_assert!(is_for_a_seat(address, subnet) && address != gateway(subnet));
                prop_assert!(taken.insert(address));
            }
            prop_assert_eq!(taken.len(), usize::try_from(seats(subnet)).unwrap());
            let given_back = *taken.iter().nth(taken.len() / 2).unwrap();
            taken.remove(&given_back);
            prop_assert_eq!(free_address(subnet, &taken), Ok(given_back));
        }

        #[test]
        fn so_many_seats_fit(wanted in 1u32..100_000) {
            let prefix = prefix_for(wanted);
            prop_assert!(seats(Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), prefix).unwrap()) >= wanted);
            prop_assert!(prefix == LONGEST_PREFIX || seats(Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), prefix + 1).unwrap()) < wanted);
        }
    }
}
