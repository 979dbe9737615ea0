//! How much a seat may receive and send.

use std::fmt;

/// A limit of bandwidth: whole megabits (10^6 bits) in a second, from [`BitRate::LEAST`] to [`BitRate::MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u32);

impl BitRate {
    /// The smallest limit, in megabits a second. The largest frame that a guest hands over at once has 64 KiB and must fit into what
    /// may pass in a second.
    pub const LEAST: u32 = 1;

    /// The largest, in megabits a second: more than any interface of a host carries.
    pub const MOST: u32 = 100_000;

    /// As many megabits a second.
    ///
    /// # Errors
    /// [`InvalidBitRate`] when it is out of bounds.
    pub fn from_mbit(mbit: u32) -> Result<Self, InvalidBitRate> {
        if (Self::LEAST..=Self::MOST).contains(&mbit) { Ok(Self(mbit)) } else { Err(InvalidBitRate(mbit)) }
    }

    /// Megabits a second.
    #[must_use]
    pub fn mbit(self) -> u32 {
        self.0
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0) * 125_000
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Mbit/s", self.0)
    }
}

/// A number of megabits that is no [`BitRate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no limit of bandwidth: it is from {least} to {most} Mbit/s", least = BitRate::LEAST, most = BitRate::MOST)]
pub struct InvalidBitRate(u32);

/// The limits of each seat, each direction for itself; `None` is without.
///
/// What a seat receives is counted as frames, with their Ethernet headers of 14 bytes, what it sends without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// What comes to the seat: what is too much waits for its turn, and is dropped where too much waits already.
    pub to_seat: Option<BitRate>,
    /// What the seat sends, to wherever: what is too much is dropped. A seat that was quiet may send at once what it may in a second.
    pub from_seat: Option<BitRate>,
}

impl Bandwidth {
    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.to_seat, self.from_seat) {
            (None, None) => f.write_str("no limit on what a seat receives and sends"),
            (Some(rate), None) => write!(f, "a seat receives at most {rate}, and sends without a limit"),
            (None, Some(rate)) => write!(f, "a seat sends at most {rate}, and receives without a limit"),
            (Some(to), Some(from)) => write!(f, "a seat receives at most {to} and sends at most {from}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_bounds() {
        for mbit in [0, 100_001, u32::MAX] {
            let why = BitRate::from_mbit(mbit).unwrap_err().to_string();
            assert_eq!(why, format!("{mbit} is no limit of bandwidth: it is from 1 to 100000 Mbit/s"));
        }
        for mbit in [1, 100_000] {
            assert_eq!(BitRate::from_mbit(mbit).map(BitRate::mbit), Ok(mbit));
        }
        assert_eq!(BitRate::from_mbit(8).map(BitRate::bytes), Ok(1_000_000));
    }

    #[test]
    fn both_directions_are_told_apart() {
        let rate = |mbit| BitRate::from_mbit(mbit).ok();
        let said = |to_seat, from_seat| Bandwidth { to_seat, from_seat }.to_string();
        assert_eq!(said(rate(50), rate(20)), "a seat receives at most 50 Mbit/s and sends at most 20 Mbit/s");
        assert!(said(rate(50), None).starts_with("a seat receives at most 50 Mbit/s"));
        assert!(said(None, rate(20)).starts_with("a seat sends at most 20 Mbit/s"));
        assert!(
            !Bandwidth::default().is_limited()
                && Bandwidth { to_seat: rate(1), from_seat: None }.is_limited()
        );
    }
}
