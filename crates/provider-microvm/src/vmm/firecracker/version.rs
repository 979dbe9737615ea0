//! Which Firecracker it is.

use std::fmt;

/// A version of Firecracker. What stands behind the numbers, as in `1.17.0-dev`, is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Its first number.
    pub major: u32,
    /// Its second.
    pub minor: u32,
    /// Its third.
    pub patch: u32,
}

impl Version {
    /// The oldest that is accepted: the first that gives a restored machine another vsock socket (CHANGELOG.md of Firecracker).
    pub const LEAST: Self = Self { major: 1, minor: 16, patch: 0 };

    /// Reads `1.16.1`, with or without a `v` before it and a word behind it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let numbers = numbers.split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_firecracker_writes_them() {
        let version = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(version("1.16.1").as_deref(), Some("1.16.1"));
        assert_eq!(version("v1.17.0-dev\n").as_deref(), Some("1.17.0"));
        assert_eq!(version("1.17.0+abc").as_deref(), Some("1.17.0"));
        for none in ["", "v", "1.16", "1.16.0.1", "1.16.x", "QEMU 7.2.22", "1.-16.0"] {
            assert_eq!(version(none), None, "{none}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let at_least = |text| Version::parse(text).unwrap() >= Version::LEAST;
        assert!(at_least("1.16.0") && at_least("1.17.0-dev") && at_least("2.0.0"));
        assert!(!at_least("1.15.9") && !at_least("1.9.0") && !at_least("0.25.2"));
    }
}
