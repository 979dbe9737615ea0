//! The types that settings have, and how each is written in a file, a variable or a flag.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use lifecycle::AllowedImage;
use seats::{ImageRef, SeatBound};
use toml::de::DeValue;

/// A type that a setting can have.
pub(crate) trait SettingValue: Sized {
    /// What a person writes, as it stands after "expected": `a duration such as "30s"`.
    fn form() -> String;

    /// Reads the text of a variable or a flag, or a TOML string. The error adds to [`Self::form`] what is wrong
    /// beyond the form, and may be empty.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads a TOML value; for most types only a string will do.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Self::from_text(text),
            _ => Err(String::new()),
        }
    }

    /// The value in TOML, or `None` when it is not set.
    fn to_toml(&self) -> Option<String>;
}

/// A TOML string that says `text`.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl SettingValue for bool {
    fn form() -> String {
        "true or false".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(String::new)
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

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

/// Types that are written as a string and know how to parse themselves. The last part says what the error adds
/// to the form: what the standard library says adds nothing.
macro_rules! textual {
    ($($kind:ty, $form:literal, $show:expr, $explain:expr;)+) => {$(
        impl SettingValue for $kind {
            fn form() -> String {
                $form.into()
            }

            fn from_text(text: &str) -> Result<Self, String> {
                let explain: fn(<$kind as std::str::FromStr>::Err) -> String = $explain;
                text.parse().map_err(explain)
            }

            fn to_toml(&self) -> Option<String> {
                let show: fn(&$kind) -> String = $show;
                Some(quoted(&show(self)))
            }
        }
    )+};
}

textual! {
    SocketAddr, "an address with a port, such as \"127.0.0.1:8080\"", ToString::to_string, |_| String::new();
    IpAddr, "an IP address such as \"127.0.0.1\"", ToString::to_string, |_| String::new();
    Ipv4Net, "an IPv4 network such as \"10.213.0.0/16\"", ToString::to_string, |_| String::new();
    ImageRef, "an image reference", |image| image.as_str().to_owned(), |error| error.to_string();
    AllowedImage, "an image reference, or the beginning of one with a final '*'", show_allowed, |error| error.to_string();
}

fn show_allowed(allowed: &AllowedImage) -> String {
    match allowed {
        AllowedImage::Exact(image) => image.as_str().to_owned(),
        AllowedImage::Prefix(prefix) => format!("{prefix}*"),
    }
}

impl SettingValue for String {
    fn form() -> String {
        "a text".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            Err("it is not empty".into())
        } else {
            Ok(text.to_owned())
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl SettingValue for PathBuf {
    fn form() -> String {
        "a path".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        String::from_text(text).map(Self::from)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

/// Empty text, or `off`, means that it is not set; so a variable or a flag can take back what a file sets.
impl<T: SettingValue> SettingValue for Option<T> {
    fn form() -> String {
        format!("{}, or \"off\"", T::form())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if matches!(text, "" | "off") { Ok(None) } else { T::from_text(text).map(Some) }
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Self::from_text(text),
            _ => T::from_toml(value).map(Some),
        }
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(T::to_toml)
    }
}

/// An array in a file; separated by commas in a variable or a flag.
impl<T: SettingValue> SettingValue for Vec<T> {
    fn form() -> String {
        format!("a list (an array in a file, comma-separated elsewhere), each {}", T::form())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| T::from_text(part).map_err(|detail| in_list(part, &detail))).collect()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let array = value.as_array().ok_or_else(String::new)?;
        let parts = array.iter().map(toml::Spanned::get_ref);
        parts.map(|part| T::from_toml(part).map_err(|detail| in_list(&describe(part), &detail))).collect()
    }

    fn to_toml(&self) -> Option<String> {
        let parts: Vec<_> = self.iter().filter_map(T::to_toml).collect();
        Some(format!("[{}]", parts.join(", ")))
    }
}

fn in_list(part: &str, detail: &str) -> String {
    if detail.is_empty() { format!("{part} is not") } else { format!("{part}: {detail}") }
}

/// How a value is named in "found …".
pub(crate) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A setting that is one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$doc])* $variant),+ }

        impl $crate::config::value::SettingValue for $name {
            fn form() -> String {
                format!("one of {}", [$($word),+].map(|word| format!("{word:?}")).join(", "))
            }

            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::config::suggest::nearest(text, [$($word),+])
                        .map(|word| format!("did you mean {word:?}?"))
                        .unwrap_or_default()),
                }
            }

            fn to_toml(&self) -> Option<String> {
                Some($crate::config::value::quoted(match self { $(Self::$variant => $word),+ }))
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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

    #[test]
    fn lists_say_which_element_is_wrong() {
        assert_eq!(Vec::<IpAddr>::from_text(" 127.0.0.1, ::1 ,").unwrap().len(), 2);
        assert_eq!(Vec::<IpAddr>::from_text("").unwrap().len(), 0);
        assert_eq!(Vec::<IpAddr>::from_text("127.0.0.1,x").unwrap_err(), "x is not");
    }

    #[test]
    fn off_takes_back() {
        assert_eq!(Option::<IpAddr>::from_text("off"), Ok(None));
        assert_eq!(Option::<IpAddr>::from_text(""), Ok(None));
        assert!(Option::<IpAddr>::from_text("none").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0u64..=86_400_000, cpu in 10u32..=256_000, text in "[^\0]{1,40}") {
            let span = Span(Duration::from_millis(millis));
            let written = span.to_toml().unwrap();
            prop_assert_eq!(Span::from_toml(DeValue::parse(&written).unwrap().get_ref()), Ok(span));
            let written = Cpus(cpu).to_toml().unwrap();
            prop_assert_eq!(Cpus::from_toml(DeValue::parse(&written).unwrap().get_ref()), Ok(Cpus(cpu)));
            let written = text.to_toml().unwrap();
            prop_assert_eq!(String::from_toml(DeValue::parse(&written).unwrap().get_ref()), Ok(text));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = (Span::from_text(&text), Cpus::from_text(&text), Whole::<0, 9>::from_text(&text));
        }
    }
}
