//! Numbers.

use seats::SeatBound;
use toml::de::DeValue;

use super::SettingValue;

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> SettingValue for Whole<MIN, MAX> {
    fn form() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        number.filter(|number| (MIN..=MAX).contains(number)).map(Self).ok_or_else(String::new)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let integer = value.as_integer().ok_or_else(String::new)?;
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| String::new())?;
        Self::from_text(&number.to_string())
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

type SeatCount = Whole<1, { SeatBound::MAX as u32 }>;

impl SettingValue for SeatBound {
    fn form() -> String {
        SeatCount::form()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        SeatCount::from_text(text).and_then(seat_bound)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        SeatCount::from_toml(value).and_then(seat_bound)
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.highest().to_string())
    }
}

fn seat_bound(number: SeatCount) -> Result<SeatBound, String> {
    u16::try_from(number.0).ok().and_then(|number| SeatBound::new(number).ok()).ok_or_else(String::new)
}

/// Thousandths of a CPU, written as CPUs: `1.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) u32);

impl SettingValue for Cpus {
    fn form() -> String {
        "a number of CPUs from 0.01 to 256, such as 1.5".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let cpus: f64 = text.parse().ok().filter(|_| plain).ok_or_else(String::new)?;
        let millis = (cpus * 1000.0).round();
        if !(10.0..=256_000.0).contains(&millis) {
            return Err(String::new());
        }
        // Within bounds by the check above, and whole by the rounding.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self(millis as u32))
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Integer(number) if number.radix() == 10 => Self::from_text(number.as_str()),
            DeValue::Float(number) => Self::from_text(number.as_str()),
            _ => Err(String::new()),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some((f64::from(self.0) / 1000.0).to_string())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", Some(1000))]
    #[case("1.5", Some(1500))]
    #[case("0.01", Some(10))]
    #[case("256", Some(256_000))]
    #[case("0", None)]
    #[case("257", None)]
    #[case("-1", None)]
    #[case("NaN", None)]
    #[case("1e2", None)]
    fn cpus(#[case] text: &str, #[case] millis: Option<u32>) {
        assert_eq!(Cpus::from_text(text).ok(), millis.map(Cpus));
    }
}
