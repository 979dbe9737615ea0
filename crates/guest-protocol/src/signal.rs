//! Signals by the names that images give them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal of Linux by its number (signal(7), x86 and ARM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct Signal(i32);

/// The numbers 1 to 31 in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first of the real-time signals that programs may use: the C library keeps two.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Signal {
    /// Asks a program to end.
    pub const TERM: Self = Self(15);
    /// Ends a program.
    pub const KILL: Self = Self(9);
    /// The terminal is gone.
    pub const HUP: Self = Self(1);

    /// The signal of this number.
    ///
    /// # Errors
    /// When it is not between 1 and 64.
    pub fn from_number(number: i32) -> Result<Self, BadSignal> {
        if (1..=64).contains(&number) { Ok(Self(number)) } else { Err(BadSignal(number.to_string())) }
    }

    /// Its number, 1 to 64.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index));
        match name {
            Some(name) => write!(f, "SIG{name}"),
            None if REAL_TIME.contains(&self.0) => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME.start()),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The text is no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no signal: a name as SIGTERM or a number from 1 to 64 is meant")]
pub struct BadSignal(String);

impl FromStr for Signal {
    type Err = BadSignal;

    /// Reads `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1`, as Docker does.
    fn from_str(text: &str) -> Result<Self, BadSignal> {
        let bad = || BadSignal(text.chars().take(40).collect());
        if let Ok(number) = text.parse() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let offset = |rest: &str, sign: char| match rest {
            "" => Ok(0),
            rest => rest.strip_prefix(sign).and_then(|n| n.parse::<i32>().ok()).ok_or_else(bad),
        };
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            REAL_TIME.start().checked_add(offset(rest, '+')?)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            REAL_TIME.end().checked_sub(offset(rest, '-')?)
        } else {
            let name = match name {
                "CLD" => "CHLD",
                "POLL" => "IO",
                "IOT" => "ABRT",
                name => name,
            };
            return (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(n, _)| Self(n)).ok_or_else(bad);
        };
        number.filter(|number| REAL_TIME.contains(number)).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<String> for Signal {
    type Error = BadSignal;

    fn try_from(text: String) -> Result<Self, BadSignal> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("SIGTERM", 15, "SIGTERM")]
    #[case("quit", 3, "SIGQUIT")]
    #[case("9", 9, "SIGKILL")]
    #[case("SIGRTMIN+3", 37, "SIGRTMIN+3")]
    #[case("RTMAX-1", 63, "SIGRTMIN+29")]
    #[case("SIGPOLL", 29, "SIGIO")]
    fn names_and_numbers(#[case] text: &str, #[case] number: i32, #[case] shown: &str) {
        let signal: Signal = text.parse().unwrap();
        assert_eq!((signal.number(), signal.to_string().as_str()), (number, shown));
        assert_eq!(shown.parse::<Signal>().unwrap(), signal);
    }

    #[rstest]
    fn what_is_none(#[values("", "SIG", "0", "65", "-1", "SIGRTMIN+31", "SIGRTMAX+1", "TERM ")] text: &str) {
        assert!(text.parse::<Signal>().is_err());
    }
}
