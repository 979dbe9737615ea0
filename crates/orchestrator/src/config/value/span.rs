//! Lengths of time.

use std::time::Duration;

use super::{SettingValue, quoted};

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// Longer than any wait that makes sense here; keeps sums of deadlines from overflowing.
    const MAX: Duration = Duration::from_hours(24);
    const UNITS: [(&'static str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

    fn millis(text: &str) -> Option<u64> {
        let (mut rest, mut total, mut last) = (text, 0_u64, usize::MAX);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, tail) = tail.split_at(letters);
            let place = Self::UNITS.iter().position(|(name, _)| *name == unit)?;
            // Larger units first, each once: "1m30s", not "30s1m".
            if last != usize::MAX && place <= last {
                return None;
            }
            let millis = number.parse::<u64>().ok()?.checked_mul(Self::UNITS.get(place)?.1)?;
            (total, last, rest) = (total.checked_add(millis)?, place, tail);
        }
        (!text.is_empty()).then_some(total)
    }
}

impl SettingValue for Span {
    fn form() -> String {
        "a duration such as \"500ms\", \"30s\" or \"1m30s\", at most \"24h\"".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let duration = Self::millis(text).map(Duration::from_millis).ok_or_else(String::new)?;
        if duration > Self::MAX { Err(String::new()) } else { Ok(Self(duration)) }
    }

    fn to_toml(&self) -> Option<String> {
        let (mut rest, mut text) = (u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), String::new());
        for (name, millis) in Self::UNITS {
            if rest >= millis {
                text += &format!("{}{name}", rest / millis);
                rest %= millis;
            }
        }
        Some(quoted(if text.is_empty() { "0s" } else { &text }))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30s", Some(30_000))]
    #[case("1m30s", Some(90_000))]
    #[case("500ms", Some(500))]
    #[case("1s500ms", Some(1500))]
    #[case("0s", Some(0))]
    #[case("24h", Some(86_400_000))]
    #[case("24h1ms", None)]
    #[case("30", None)]
    #[case("", None)]
    #[case("s", None)]
    #[case("30s1m", None)]
    #[case("1s1s", None)]
    #[case("-1s", None)]
    #[case("1.5s", None)]
    #[case("1d", None)]
    #[case("99999999999999999999h", None)]
    fn durations(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(Span::from_text(text).ok(), millis.map(|millis| Span(Duration::from_millis(millis))));
    }
}
