//! JSON into a value tree, with duplicate keys refused.
//!
//! RFC 8259 leaves the meaning of a repeated key open. Two parsers that disagree about it are a way around
//! whatever the first one checked, so there is no meaning here at all.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fields::shown;

/// # Errors
/// With the place of the first mistake. Never quotes a value. Nesting deeper than 128 is a mistake.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key '{}' is there twice", shown(&key))));
            }
            let value = entries.next_value_seed(Self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"")]
    #[case(b"{")]
    #[case(b"{} {}")]
    #[case(b"{\"a\":1,\"a\":2}")]
    #[case(b"{\"a\":1,\"\\u0061\":2}")]
    #[case(b"{\"x\":[{\"a\":1,\"a\":1}]}")]
    #[case(b"[1e999]")]
    #[case(b"[NaN]")]
    #[case(b"{'a':1}")]
    #[case(b"\"\xff\"")]
    #[case(b"\"\\ud800\"")]
    #[case(b"\xef\xbb\xbf{}")]
    fn refuses(#[case] bytes: &[u8]) {
        assert!(parse(bytes).is_err(), "{bytes:?}");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        assert!(parse("[".repeat(200_000).as_bytes()).is_err());
        assert!(parse("{\"a\":".repeat(200_000).as_bytes()).is_err());
    }

    #[test]
    fn an_error_quotes_no_value() {
        for text in [
            "{\"api_key\":\"sk-canary-secret\" x}",
            "{\"api_key\":\"sk-canary-secret",
            "{\"api_key\":\"sk-canary-secret\\q\"}",
        ] {
            assert!(!parse(text.as_bytes()).unwrap_err().to_string().contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_serde_json_reads_them_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = parse(&bytes) {
                prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).unwrap());
            }
        }
    }
}
