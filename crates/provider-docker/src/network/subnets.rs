//! Which subnet a workshop gets.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// An address range cut into subnets of equal size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    range: Ipv4Net,
    prefix: u8,
}

impl Pool {
    /// `prefix` is at least as long as that of `range`.
    pub(crate) fn new(range: Ipv4Net, prefix: u8) -> Self {
        Self { range: range.trunc(), prefix }
    }

    /// The lowest subnet that overlaps none of `taken`.
    pub(crate) fn first_free(&self, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
        self.subnets().find(|subnet| !taken.iter().any(|other| overlap(subnet, other)))
    }

    /// How many subnets overlap none of `taken`.
    pub(crate) fn free(&self, taken: &[Ipv4Net]) -> usize {
        self.subnets().filter(|subnet| !taken.iter().any(|other| overlap(subnet, other))).count()
    }

    /// The whole range.
    pub(crate) fn range(&self) -> Ipv4Net {
        self.range
    }

    fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.range.subnets(self.prefix).into_iter().flatten()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = 1u64 << (self.prefix - self.range.prefix_len());
        let subnets = if count == 1 { "the one subnet".to_owned() } else { format!("all {count} subnets") };
        write!(f, "{subnets} of size /{} in the pool {}", self.prefix, self.range)
    }
}

fn overlap(one: &Ipv4Net, two: &Ipv4Net) -> bool {
    one.contains(&two.network()) || two.contains(&one.network())
}

/// The ranges inside the pool that the host itself routes somewhere (a VPN, another program's bridge). Routes
/// wider than the pool are no claim to it: a host in 10.0.0.0/8 still has free subnets there.
///
/// Empty where there is no `/proc/net/route` (macOS), and of no harm where the engine runs elsewhere.
pub(crate) fn host_routes(pool: &Pool) -> Vec<Ipv4Net> {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&table).filter(|route| route.prefix_len() >= pool.range.prefix_len()).collect()
}

/// Reads the kernel's table: destination and mask are hexadecimal in network byte order, as the host's integer.
fn parse_routes(table: &str) -> impl Iterator<Item = Ipv4Net> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let address =
            |hex: &str| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
        let destination = address(columns.nth(1)?)?;
        let mask = address(columns.nth(5)?)?;
        Ipv4Net::with_netmask(destination, mask).ok().filter(|route| route.prefix_len() > 0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn takes_the_lowest_free_subnet_and_ends_with_the_pool() {
        let pool = Pool::new(net("10.213.0.0/24"), 26);
        assert_eq!(pool.first_free(&[]), Some(net("10.213.0.0/26")));
        assert_eq!(pool.first_free(&[net("10.213.0.0/25")]), Some(net("10.213.0.128/26")));
        assert_eq!(pool.first_free(&[net("10.213.0.7/32")]), Some(net("10.213.0.64/26")));
        assert_eq!(pool.first_free(&[net("10.0.0.0/8")]), None);
        assert_eq!((pool.free(&[]), pool.free(&[net("10.213.0.65/32")])), (4, 3));
        assert_eq!(pool.to_string(), "all 4 subnets of size /26 in the pool 10.213.0.0/24");
    }

    #[test]
    fn reads_the_kernels_routes() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     br-1\t0005D50A\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0\n";
        assert_eq!(parse_routes(table).collect::<Vec<_>>(), [net("10.213.5.0/25")]);
    }

    proptest! {
        #[test]
        fn what_is_handed_out_overlaps_nothing(
            prefix in 20u8..=28,
            taken in prop::collection::vec((any::<u32>(), 8u8..=32), 0..12),
        ) {
            let pool = Pool::new(net("10.213.0.0/20"), prefix);
            let taken: Vec<Ipv4Net> = taken
                .into_iter()
                .map(|(bits, length)| Ipv4Net::new((0x0AD5_0000 | (bits & 0xFFF)).into(), length).unwrap().trunc())
                .collect();
            let free = pool.free(&taken);
            match pool.first_free(&taken) {
                Some(subnet) => {
                    prop_assert!(free > 0 && pool.range().contains(&subnet) && subnet.prefix_len() == prefix);
                    for other in &taken {
                        prop_assert!(subnet.hosts().all(|address| !other.contains(&address)));
                    }
                }
                None => prop_assert_eq!(free, 0),
            }
        }
    }
}
