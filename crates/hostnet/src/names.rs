//! Whose an interface is, and what it is called.
//!
//! Linux gives an interface's name 15 bytes, too few to tell a service, a workshop and a seat. So a name is a hash of the
//! three, which is only good for finding an interface again; it is never taken apart. Whose an interface is stands in its alias
//! (`ip link` shows it):
//!
//! ```text
//!   bridge  ctb1f0c9a2b7e   alias "clarateach 5e0c…d1 rust-101"
//!   TAP     ctt90d2e44a01   alias "clarateach 5e0c…d1 rust-101/7"
//! ```
//!
//! The hexadecimal number is the instance: the state directory that the service works on. Services with different ones share a
//! host without touching each other's interfaces.

use std::fmt;
use std::str::FromStr;

use seats::{SeatBound, SeatRef, WorkshopId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an alias of ours begins with.
const MARK: &str = "clarateach";

/// The state directory that a service works on: 8 to 32 lower-case hexadecimal digits, random, made once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(Box<str>);

impl InstanceId {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the bridge of a workshop.
    #[must_use]
    pub fn bridge(&self, workshop: &WorkshopId) -> IfName {
        self.hashed("ctb", workshop.as_str())
    }

    /// The name of the TAP device of a seat.
    #[must_use]
    pub fn tap(&self, seat: &SeatRef) -> IfName {
        self.hashed("ctt", &seat.to_string())
    }

    /// The name of the packet filter's tables.
    #[must_use]
    pub fn table(&self) -> String {
        format!("{MARK}_{}", self.0)
    }

    fn hashed(&self, kind: &str, owner: &str) -> IfName {
        let digest = Sha256::digest(format!("{}\0{kind}\0{owner}", self.0));
        let digits: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        IfName(format!("{kind}{digits}").into())
    }
}

impl FromStr for InstanceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !(8..=32).contains(&text.len()) {
            return Err(InvalidName::Instance(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a network interface: 1 to 15 bytes without `/`, `:`, white space or control characters, neither `.` nor `..`
/// (the kernel's `dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(Box<str>);

impl IfName {
    /// The longest name, in bytes (`IFNAMSIZ` without the end).
    pub const MAX_BYTES: usize = 15;

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the kernel keeps it: filled up with zeros.
    #[must_use]
    pub fn padded(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..self.0.len()].copy_from_slice(self.0.as_bytes());
        bytes
    }
}

impl FromStr for IfName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if !plain || !(1..=Self::MAX_BYTES).contains(&text.len()) || text == "." || text == ".." {
            return Err(InvalidName::Interface(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for IfName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no name of what it should name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not an [`InstanceId`].
    #[error("{0:?} is no instance id: 8 to 32 lower-case hexadecimal digits")]
    Instance(Box<str>),
    /// Not an [`IfName`].
    #[error("{0:?} is no name of a network interface: 1 to 15 characters without '/', ':' and white space")]
    Interface(Box<str>),
}

/// For whom an interface is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The bridge of a workshop.
    Workshop(WorkshopId),
    /// The TAP device of a seat.
    Seat(SeatRef),
}

impl Owner {
    /// The interface's alias.
    #[must_use]
    pub fn alias(&self, instance: &InstanceId) -> String {
        format!("{MARK} {instance} {self}")
    }

    /// Reads an alias; `None` when it is not one of this instance.
    #[must_use]
    pub fn of_alias(alias: &str, instance: &InstanceId) -> Option<Self> {
        let owner = alias.strip_prefix(MARK)?.strip_prefix(' ')?.strip_prefix(instance.as_str())?;
        let owner = owner.strip_prefix(' ')?;
        let (workshop, seat) =
            owner.split_once('/').map_or((owner, None), |(workshop, seat)| (workshop, Some(seat)));
        let workshop: WorkshopId = workshop.parse().ok()?;
        Some(match seat {
            None => Self::Workshop(workshop),
            Some(seat) => Self::Seat(SeatRef::new(workshop, SeatBound::widest().parse(seat).ok()?)),
        })
    }

    /// The workshop that it is of.
    #[must_use]
    pub fn workshop(&self) -> &WorkshopId {
        match self {
            Self::Workshop(workshop) => workshop,
            Self::Seat(seat) => &seat.workshop,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workshop(workshop) => write!(f, "{workshop}"),
            Self::Seat(seat) => write!(f, "{seat}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instance() -> InstanceId {
        "0123456789abcdef".parse().unwrap()
    }

    fn seat(workshop: &str, seat: u64) -> SeatRef {
        SeatRef::new(workshop.parse().unwrap(), SeatBound::widest().seat(seat).unwrap())
    }

    #[test]
    fn names_tell_instances_workshops_and_seats_apart() {
        let other: InstanceId = "0123456789abcdee".parse().unwrap();
        let names = [
            instance().bridge(&"rust-101".parse().unwrap()),
            instance().bridge(&"rust-102".parse().unwrap()),
            other.bridge(&"rust-101".parse().unwrap()),
            instance().tap(&seat("rust-101", 1)),
            instance().tap(&seat("rust-101", 11)),
            instance().tap(&seat("rust-1011", 1)),
            other.tap(&seat("rust-101", 1)),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| name.as_str().parse::<IfName>().as_ref() == Ok(name)));
    }

    #[test]
    fn an_alias_of_another_instance_is_not_ours() {
        let other: InstanceId = "0123456789abcdef00".parse().unwrap();
        let owner = Owner::Workshop("rust-101".parse().unwrap());
        assert_eq!(Owner::of_alias(&owner.alias(&instance()), &instance()), Some(owner.clone()));
        assert_eq!(Owner::of_alias(&owner.alias(&other), &instance()), None);
        for foreign in
            ["", "clarateach", "clarateach 0123456789abcdef", "docker0", "clarateach 0123456789abcdef X"]
        {
            assert_eq!(Owner::of_alias(foreign, &instance()), None);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", ".", "..", "a b", "a/b", "eth0:1", "sixteen-bytes-ab", "ä"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad}");
        }
        for bad in ["", "0123456", "0123456789ABCDEF", "0123456789abcdef0123456789abcdef0", "../../../etc"] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_alias_is_read_back(workshop in "[a-z0-9-]{3,20}", number in 1u64..=9999) {
            let owner = Owner::Seat(seat(&workshop, number));
            prop_assert_eq!(Owner::of_alias(&owner.alias(&instance()), &instance()), Some(owner));
        }

        #[test]
        fn any_alias_is_read_without_panic(alias in ".{0,60}") {
            let _ = Owner::of_alias(&alias, &instance());
            let _ = Owner::of_alias(&format!("clarateach 0123456789abcdef {alias}"), &instance());
        }
    }
}
