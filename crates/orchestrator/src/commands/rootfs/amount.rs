//! Sizes and ages on the command line.

use std::time::Duration;

use crate::exit::{Exit, Failure};

const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const AGES: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Bytes, as `512MiB`, `4GiB` or `1073741824`.
pub(super) fn bytes(text: &str) -> Result<u64, Failure> {
    number(text, &SIZES).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} is no size"))
            .remedy("a size is a whole number and KiB, MiB, GiB, TiB, MB, GB or TB, such as 4GiB")
    })
}

/// A length of time, as `30d` or `12h`.
pub(super) fn age(text: &str) -> Result<Duration, Failure> {
    let seconds = number(text, &AGES).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} is no length of time"))
            .remedy("a length of time is a whole number and d, h, m or s, such as 30d")
    })?;
    Ok(Duration::from_secs(seconds))
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, each) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*each)
}

/// Bytes for people.
pub(super) fn shown(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("4GiB", Some(4 << 30))]
    #[case("16777216", Some(16 << 20))]
    #[case("500MB", Some(500_000_000))]
    #[case("4G", None)]
    #[case("4 GiB", None)]
    #[case("-1", None)]
    #[case("GiB", None)]
    #[case("", None)]
    #[case("99999999999999TiB", None)]
    fn sizes(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(bytes(text).ok(), expected);
    }

    #[rstest]
    #[case("30d", Some(30 * 86_400))]
    #[case("0s", Some(0))]
    #[case("5", None)]
    #[case("5w", None)]
    fn ages(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(age(text).ok().map(|age| age.as_secs()), seconds);
    }
}
