//! Environment variables that a caller adds to a seat.

use std::collections::BTreeMap;
use std::fmt;

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes (the portable set of
/// POSIX.1-2017, chapter 8.1, plus lower case).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvName(Box<str>);

impl EnvName {
    /// The most bytes of a name.
    pub const MAX_BYTES: usize = 128;

    /// # Errors
    /// When the text breaks the rule above.
    pub fn new(text: &str) -> Result<Self, InvalidEnv> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let goes_on_well = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if starts_well && goes_on_well && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEnv::Name)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A bounded set of variables, ordered by name.
///
/// Values may be secrets, so `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvVars(BTreeMap<EnvName, String>);

impl EnvVars {
    /// The most variables that a caller may add.
    pub const MAX_VARS: usize = 128;
    /// The most bytes of one value; half of what Linux takes for one string (`MAX_ARG_STRLEN`, execve(2)).
    pub const MAX_VALUE_BYTES: usize = 65_536;

    /// The most bytes of all names and values together. Linux gives a program a quarter of its stack for these, two
    /// megabytes as a rule, and a workspace's shells add their own.
    pub const MAX_TOTAL_BYTES: usize = 131_072;

    /// Names that the service sets itself: a caller who could set them could contradict the seat's identity.
    pub const RESERVED: [&'static str; 8] = [
        "ANTHROPIC_API_KEY",
        "CONTAINER_ID",
        "FILES_PORT",
        "MICROVM_MODE",
        "SEAT",
        "TERM",
        "TERMINAL_PORT",
        "WORKSPACE_DIR",
    ];

    /// Names that the service sets as it is configured, unless the caller gives them: how a workspace lets learners
    /// in is as much the portal's choice as the operator's. Their values are no secrets.
    pub const DEFAULTED: [&'static str; 2] = ["AUTH_DISABLED", "JWKS_URL"];

    /// Adds a variable.
    ///
    /// # Errors
    /// When the name is malformed or reserved, the value has a NUL or is too long, or there are too many.
    pub fn insert(&mut self, name: &str, value: String) -> Result<(), InvalidEnv> {
        let name = EnvName::new(name)?;
        if Self::RESERVED.contains(&name.as_str()) {
            return Err(InvalidEnv::Reserved);
        }
        if value.contains('\0') {
            return Err(InvalidEnv::Nul);
        }
        if value.len() > Self::MAX_VALUE_BYTES {
            return Err(InvalidEnv::TooLong);
        }
        if self.0.len() >= Self::MAX_VARS && !self.0.contains_key(&name) {
            return Err(InvalidEnv::TooMany);
        }
        let others = self.iter().filter(|(known, _)| *known != name.as_str());
        let total: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if total + name.as_str().len() + value.len() > Self::MAX_TOTAL_BYTES {
            return Err(InvalidEnv::TooMuch);
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// The variables by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for EnvVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(EnvName::as_str)).finish()
    }
}

/// Why a variable is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnv {
    /// The name breaks the rule of [`EnvName`].
    #[error(
        "a variable's name starts with a letter or '_', goes on with letters, digits and '_', and has at most 128 bytes"
    )]
    Name,
    /// The name is one of [`EnvVars::RESERVED`].
    #[error("this variable is set by the service and cannot be given (an api key goes into 'api_key')")]
    Reserved,
    /// An environment variable cannot hold a NUL.
    #[error("a variable's value has no NUL character")]
    Nul,
    /// Over [`EnvVars::MAX_VALUE_BYTES`].
    #[error("a variable's value has at most {max} bytes", max = EnvVars::MAX_VALUE_BYTES)]
    TooLong,
    /// Over [`EnvVars::MAX_TOTAL_BYTES`].
    #[error("a seat's variables have at most {max} bytes together", max = EnvVars::MAX_TOTAL_BYTES)]
    TooMuch,
    /// Over [`EnvVars::MAX_VARS`].
    #[error("a seat takes at most {max} variables", max = EnvVars::MAX_VARS)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("1A")]
    #[case("A=B")]
    #[case("A B")]
    #[case("A\0")]
    #[case("É")]
    fn refuses_names(#[case] name: &str) {
        assert_eq!(EnvVars::default().insert(name, "x".into()), Err(InvalidEnv::Name));
    }

    #[test]
    fn refuses_what_the_service_sets_and_what_does_not_fit() {
        let mut env = EnvVars::default();
        for name in EnvVars::RESERVED {
            assert_eq!(env.insert(name, "x".into()), Err(InvalidEnv::Reserved), "{name}");
        }
        assert_eq!(env.insert("A", "\0".into()), Err(InvalidEnv::Nul));
        assert_eq!(env.insert("A", "x".repeat(EnvVars::MAX_VALUE_BYTES + 1)), Err(InvalidEnv::TooLong));
        let half = "x".repeat(EnvVars::MAX_VALUE_BYTES);
        env.insert("A", half.clone()).unwrap();
        env.insert("A", half.clone()).unwrap();
        assert_eq!(env.insert("B", half), Err(InvalidEnv::TooMuch));
        let mut env = EnvVars::default();
        for number in 0..EnvVars::MAX_VARS {
            env.insert(&format!("V{number}"), "x".into()).unwrap();
        }
        assert_eq!(env.insert("ONE_MORE", "x".into()), Err(InvalidEnv::TooMany));
        assert_eq!(env.insert("V0", "again".into()), Ok(()));
    }

    proptest! {
        #[test]
        fn values_arrive_unchanged_and_are_not_shown(value in "[^\0]{8,64}") {
            let mut env = EnvVars::default();
            env.insert("TOKEN", value.clone()).unwrap();
            prop_assert_eq!(env.get("TOKEN"), Some(value.as_str()));
            prop_assert_eq!(format!("{env:?}"), "{\"TOKEN\"}");
        }
    }
}
