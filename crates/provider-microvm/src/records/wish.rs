//! What a seat was asked for, without what is secret in it.
//!
//! Values of the environment and the key may be secrets, so of each only a digest is kept: HMAC-SHA-256 (RFC 2104) of name and
//! value, with a key of the record's own. It tells whether the same value is asked for again, and nothing more: who reads
//! two records does not learn whether two seats have the same value.

use std::collections::BTreeMap;
use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use seats::{ImageRef, SeatSpec, SpecDifference};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::parts::text;
use super::seat::LimitsRecord;
use crate::random;

/// What a seat was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    #[serde(with = "text")]
    pub(crate) image: ImageRef,
    pub(crate) limits: LimitsRecord,
    /// Of the digests.
    salt: Bytes,
    /// By name, the digest of each value.
    env: BTreeMap<String, Bytes>,
    /// The digest of the key, when there is one.
    api_key: Option<Bytes>,
}

impl Wish {
    /// # Errors
    /// When the kernel has no random numbers.
    pub(crate) fn of(spec: &SeatSpec) -> io::Result<Self> {
        let salt = Bytes(random::bytes()?);
        let digest = |name: &str, value: &str| salt.digest(name, value);
        Ok(Self {
            image: spec.image.clone(),
            limits: spec.limits.into(),
            env: spec.env.iter().map(|(name, value)| (name.to_owned(), digest(name, value))).collect(),
            api_key: spec.api_key.as_ref().map(|key| digest(seats::workspace::API_KEY, key.expose())),
            salt,
        })
    }

    /// In what a spec differs from it; empty when it is the same wish.
    pub(crate) fn differences(&self, spec: &SeatSpec) -> Vec<SpecDifference> {
        let mut found = Vec::new();
        if self.image != spec.image {
            found.push(SpecDifference::Image);
        }
        let same_names = self.env.keys().map(String::as_str).eq(spec.env.iter().map(|(name, _)| name));
        let same = |name: &str, value: &str| {
            self.env.get(name).is_some_and(|known| *known == self.salt.digest(name, value))
        };
        // All of them, so that how long it takes does not tell which is another.
        let same_values = spec.env.iter().fold(true, |all, (name, value)| same(name, value) && all);
        if !(same_names && same_values) {
            found.push(SpecDifference::Env);
        }
        if self.limits != spec.limits.into() {
            found.push(SpecDifference::Limits);
        }
        let key = spec.api_key.as_ref().map(|key| self.salt.digest(seats::workspace::API_KEY, key.expose()));
        if self.api_key != key {
            found.push(SpecDifference::ApiKey);
        }
        found
    }
}

/// A key or digest, as hex digits. Comparing two takes the same time whatever they are.
#[derive(Clone, Copy, Debug)]
struct Bytes([u8; 32]);

impl Bytes {
    /// The digest of a named value with this as the key.
    fn digest(&self, name: &str, value: &str) -> Self {
        // A key of any length will do, so there is no error.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return Self([0; 32]) };
        mac.update(name.as_bytes());
        // No name holds it.
        mac.update(&[0]);
        mac.update(value.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Bytes {}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&random::digits(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        random::parse(&text).map(Self).ok_or_else(|| serde::de::Error::custom("it has not 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use seats::{ApiKey, EnvVars, Limits, SeatBound, SeatRef};

    use super::*;

    fn spec() -> SeatSpec {
        let mut env = EnvVars::default();
        env.insert("LESSON", "sk-canary-lesson".into()).unwrap();
        env.insert("EMPTY", String::new()).unwrap();
        SeatSpec {
            seat: SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(1).unwrap()),
            image: "testbed".parse().unwrap(),
            env,
            limits: Limits::default(),
            api_key: Some(ApiKey::new("sk-canary-key".into()).unwrap()),
        }
    }

    fn stored(spec: &SeatSpec) -> Wish {
        let text = serde_json::to_string(&Wish::of(spec).unwrap()).unwrap();
        assert!(!text.contains("canary"), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_digest_is_hmac() {
        // RFC 4231, test case 2, has no name; with one, name, 0 and value are the text.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        // The same key: HMAC fills up with zeros.
        let expected = "07cba1e1d2ee4a05";
        let found = random::digits(&Bytes(key).digest("what do ya want", "for nothing?").0);
        assert_eq!(found.len(), 64);
        assert_ne!(&found[..16], expected, "the separator counts");
        let mut plain = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        plain.update(b"what do ya want\0for nothing?");
        assert_eq!(found, random::digits(&<[u8; 32]>::from(plain.finalize().into_bytes())));
    }

    #[test]
    fn the_same_wish_is_the_same_and_each_difference_is_named() {
        let there = stored(&spec());
        assert_eq!(there.differences(&spec()), []);
        let spelled = SeatSpec { image: "docker.io/library/testbed:latest".parse().unwrap(), ..spec() };
        assert_eq!(there.differences(&spelled), []);
        let all = SeatSpec {
            image: "other".parse().unwrap(),
            env: EnvVars::default(),
            limits: Limits { pids: 99, ..Limits::default() },
            api_key: None,
            ..spec()
        };
        use SpecDifference::{ApiKey as Key, Env, Image, Limits as Bounds};
        assert_eq!(there.differences(&all), [Image, Env, Bounds, Key]);
        for (name, value) in [("LESSON", "other"), ("MORE", ""), ("EMPTY", "full")] {
            let mut other = spec();
            other.env.insert(name, value.into()).unwrap();
            assert_eq!(there.differences(&other), [Env]);
        }
        let other = SeatSpec { api_key: Some(ApiKey::new("sk-canary-other".into()).unwrap()), ..spec() };
        assert_eq!(there.differences(&other), [Key]);
        let without = stored(&SeatSpec { api_key: None, ..spec() });
        assert_eq!(without.differences(&spec()), [Key]);
    }

    #[test]
    fn two_records_do_not_tell_whether_a_value_is_the_same() {
        let (one, two) = (stored(&spec()), stored(&spec()));
        assert_ne!(one.api_key, two.api_key);
        assert_ne!(one.env["LESSON"], two.env["LESSON"]);
    }

    proptest! {
        #[test]
        fn a_value_is_the_same_exactly_when_it_is(one in "[^\0]{0,20}", two in "[^\0]{0,20}") {
            let with = |value: &str| {
                let mut spec = spec();
                spec.env.insert("VALUE", value.to_owned()).unwrap();
                spec
            };
            let differs = !stored(&with(&one)).differences(&with(&two)).is_empty();
            prop_assert_eq!(differs, one != two);
        }
    }
}
