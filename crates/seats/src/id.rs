//! Names of workshops and seats.
//!
//! Both are parsed once, where text enters the process, and are plain values afterwards.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The name of a workshop: 3 to 20 of `a`–`z`, `0`–`9` and `-`.
///
/// It becomes a part of the names of engine objects, so it holds nothing that a name could be confused with.
/// Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkshopId(Arc<str>);

impl WorkshopId {
    /// The fewest characters of a workshop id.
    pub const MIN_LEN: usize = 3;
    /// The most characters of a workshop id.
    pub const MAX_LEN: usize = 20;
    /// The rule as a regular expression, for documents and for people.
    pub const PATTERN: &'static str = "^[a-z0-9-]{3,20}$";

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkshopId {
    type Err = InvalidWorkshopId;

    /// # Errors
    /// The length is checked before the characters, so that the message names the first thing to mend.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&length) {
            return Err(InvalidWorkshopId::Length(length));
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            Some(stranger) => Err(InvalidWorkshopId::Character(stranger)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for WorkshopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for WorkshopId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why a text is not a [`WorkshopId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWorkshopId {
    /// Too short or too long; holds the number of characters.
    #[error("a workshop id has 3 to 20 characters, this one has {0}")]
    Length(usize),
    /// Holds the first character that is not allowed.
    #[error("a workshop id has only a-z, 0-9 and '-', this one has {0:?}")]
    Character(char),
}

/// The highest seat number that a deployment accepts, from 1 to [`SeatBound::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatBound(NonZeroU16);

impl SeatBound {
    /// No deployment can go beyond this: what reads labels and records accepts up to here, so that a seat stays
    /// visible after an operator lowers the bound.
    pub const MAX: u16 = 9999;

    /// # Errors
    /// When `highest` is 0 or above [`SeatBound::MAX`].
    pub fn new(highest: u16) -> Result<Self, InvalidSeatBound> {
        match NonZeroU16::new(highest) {
            Some(value) if highest <= Self::MAX => Ok(Self(value)),
            _ => Err(InvalidSeatBound(highest)),
        }
    }

    /// The highest seat number accepted.
    #[must_use]
    pub fn highest(self) -> u16 {
        self.0.get()
    }

    /// Accepts anything that any deployment could have made.
    #[must_use]
    pub fn widest() -> Self {
        Self(NonZeroU16::new(Self::MAX).unwrap_or(NonZeroU16::MIN))
    }

    /// Checks a number that already is one (from JSON).
    ///
    /// # Errors
    /// When the number is 0 or above the bound.
    pub fn seat(self, number: u64) -> Result<SeatId, InvalidSeatId> {
        match u16::try_from(number).ok().and_then(NonZeroU16::new) {
            Some(value) if value.get() <= self.highest() => Ok(SeatId(value)),
            _ => Err(InvalidSeatId::OutOfRange { highest: self.highest() }),
        }
    }

    /// Parses a seat number from text (a path, an argument, a label): decimal ASCII digits with no sign, space
    /// or leading zero, so that every seat has exactly one spelling.
    ///
    /// # Errors
    /// When the text is not such a number, or it is 0 or above the bound.
    pub fn parse(self, text: &str) -> Result<SeatId, InvalidSeatId> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidSeatId::NotANumber);
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(InvalidSeatId::LeadingZero);
        }
        // Twenty digits overflow u64: that is out of range, not a different mistake.
        self.seat(text.parse().unwrap_or(u64::MAX))
    }
}

impl Default for SeatBound {
    /// A class of one hundred.
    fn default() -> Self {
        Self(NonZeroU16::new(100).unwrap_or(NonZeroU16::MIN))
    }
}

/// Why a number is not a [`SeatBound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the highest seat number is from 1 to {max}, not {0}", max = SeatBound::MAX)]
pub struct InvalidSeatBound(u16);

/// The number of a seat in its workshop, from 1. Made by a [`SeatBound`], which knows how far it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SeatId(NonZeroU16);

impl SeatId {
    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for SeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text or number is not a [`SeatId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeatId {
    /// Something other than ASCII digits.
    #[error("a seat is a whole number in decimal digits")]
    NotANumber,
    /// `01` would be a second spelling of `1`.
    #[error("a seat number has no leading zero")]
    LeadingZero,
    /// 0, or above the configured bound.
    #[error("a seat is from 1 to {highest}")]
    OutOfRange {
        /// The configured bound.
        highest: u16,
    },
}

/// One seat of one workshop: the key of everything that is kept about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatRef {
    /// The workshop.
    pub workshop: WorkshopId,
    /// The seat in it.
    pub seat: SeatId,
}

impl SeatRef {
    /// Names a seat.
    #[must_use]
    pub fn new(workshop: WorkshopId, seat: SeatId) -> Self {
        Self { workshop, seat }
    }
}

impl fmt::Display for SeatRef {
    /// `{workshop}/{seat}`, for messages and logs. It is never parsed back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workshop, self.seat)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("abc")]
    #[case("---")]
    #[case("a-b-2026")]
    #[case("12345678901234567890")]
    fn accepts_workshops(#[case] text: &str) {
        assert_eq!(text.parse::<WorkshopId>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("ab", InvalidWorkshopId::Length(2))]
    #[case("", InvalidWorkshopId::Length(0))]
    #[case("a23456789012345678901", InvalidWorkshopId::Length(21))]
    #[case("Rust", InvalidWorkshopId::Character('R'))]
    #[case("a_b", InvalidWorkshopId::Character('_'))]
    #[case("ab\0", InvalidWorkshopId::Character('\0'))]
    #[case("abc\n", InvalidWorkshopId::Character('\n'))]
    #[case("abc٣", InvalidWorkshopId::Character('٣'))]
    #[case("../", InvalidWorkshopId::Character('.'))]
    fn refuses_workshops(#[case] text: &str, #[case] why: InvalidWorkshopId) {
        assert_eq!(text.parse::<WorkshopId>(), Err(why));
    }

    #[rstest]
    #[case("01", InvalidSeatId::LeadingZero)]
    #[case("007", InvalidSeatId::LeadingZero)]
    #[case(" 1", InvalidSeatId::NotANumber)]
    #[case("1 ", InvalidSeatId::NotANumber)]
    #[case("0", InvalidSeatId::OutOfRange { highest: 100 })]
    #[case("-1", InvalidSeatId::NotANumber)]
    #[case("+1", InvalidSeatId::NotANumber)]
    #[case("101", InvalidSeatId::OutOfRange { highest: 100 })]
    #[case("18446744073709551617", InvalidSeatId::OutOfRange { highest: 100 })]
    #[case("1\0", InvalidSeatId::NotANumber)]
    #[case("1\n", InvalidSeatId::NotANumber)]
    #[case("١", InvalidSeatId::NotANumber)]
    #[case("１", InvalidSeatId::NotANumber)]
    #[case("1.0", InvalidSeatId::NotANumber)]
    #[case("1e1", InvalidSeatId::NotANumber)]
    #[case("", InvalidSeatId::NotANumber)]
    fn refuses_seats(#[case] text: &str, #[case] why: InvalidSeatId) {
        assert_eq!(SeatBound::default().parse(text), Err(why));
    }

    #[rstest]
    #[case(0)]
    #[case(10_000)]
    fn refuses_bounds(#[case] highest: u16) {
        assert_eq!(SeatBound::new(highest), Err(InvalidSeatBound(highest)));
    }

    proptest! {
        #[test]
        fn every_seat_in_the_bound_has_one_spelling(highest in 1u16..=SeatBound::MAX, number in 0u64..20_000) {
            let bound = SeatBound::new(highest).unwrap();
            let parsed = bound.parse(&number.to_string());
            prop_assert_eq!(parsed.is_ok(), number >= 1 && number <= u64::from(highest));
            if let Ok(seat) = parsed {
                prop_assert_eq!(seat.to_string(), number.to_string());
                prop_assert_eq!(bound.seat(number), Ok(seat));
            }
        }

        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in "\\PC{0,24}") {
            if let Ok(seat) = SeatBound::widest().parse(&text) {
                prop_assert_eq!(seat.to_string(), text.clone());
            }
            if let Ok(workshop) = text.parse::<WorkshopId>() {
                prop_assert_eq!(workshop.as_str(), &text);
            }
        }

        #[test]
        fn workshop_ids_follow_the_pattern(text in "[a-z0-9-]{3,20}") {
            prop_assert!(text.parse::<WorkshopId>().is_ok());
        }

        #[test]
        fn one_stranger_spoils_a_workshop_id(
            head in "[a-z0-9-]{1,9}",
            stranger in any::<char>().prop_filter("allowed", |c| !matches!(c, 'a'..='z' | '0'..='9' | '-')),
            tail in "[a-z0-9-]{1,9}",
        ) {
            let spoiled = format!("{head}{stranger}{tail}");
            prop_assert_eq!(spoiled.parse::<WorkshopId>(), Err(InvalidWorkshopId::Character(stranger)));
        }
    }
}
