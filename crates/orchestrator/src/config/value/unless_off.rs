//! What protects, and is taken away by a word alone.

use super::{SettingValue, quoted};

/// Something that is there unless `off` is said. Unlike an `Option`, empty text does not take it away: a variable that is empty by mistake
/// makes nothing less safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnlessOff<T>(pub(crate) Option<T>);

impl<T: SettingValue> SettingValue for UnlessOff<T> {
    fn form() -> String {
        format!("{}, or \"off\"", T::form())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { T::from_text(text).map(|value| Self(Some(value))) }
    }

    fn to_toml(&self) -> Option<String> {
        match &self.0 {
            None => Some(quoted("off")),
            Some(value) => value.to_toml(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn only_the_word_takes_it_away() {
        let read = UnlessOff::<PathBuf>::from_text;
        assert_eq!(read("off"), Ok(UnlessOff(None)));
        assert_eq!(read("jailer"), Ok(UnlessOff(Some("jailer".into()))));
        assert!(read("").is_err());
        assert_eq!(UnlessOff::<PathBuf>(None).to_toml().unwrap(), "\"off\"");
    }
}
