//! The types that settings have, and how each is written in a file, a variable or a flag.

mod number;
mod span;
mod text;
mod unless_off;

use toml::de::DeValue;

pub(crate) use number::{Cpus, Whole};
pub(crate) use span::Span;
pub(crate) use unless_off::UnlessOff;

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
    use std::net::IpAddr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

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
