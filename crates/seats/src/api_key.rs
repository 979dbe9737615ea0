//! A seat's API key: it goes in and never comes out.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// The key that a seat's workspace gets as `ANTHROPIC_API_KEY`.
///
/// Write-only: it has no `Display`, no `Serialize`, and its `Debug` prints nothing of it. The memory is wiped
/// when the last owner drops it. The only way to the text is [`ApiKey::expose`], which a provider calls at the
/// single place where it hands the key to the seat.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// The most bytes of a key. Real keys have about a hundred; the kernel allows 128 KiB for one variable.
    pub const MAX_BYTES: usize = 4096;

    /// Takes any text that an environment variable can hold, quotes, spaces and newlines included.
    ///
    /// # Errors
    /// When it is empty, longer than [`ApiKey::MAX_BYTES`], or has a NUL. The error never quotes the text.
    pub fn new(text: String) -> Result<Self, InvalidApiKey> {
        // Wrapped first, so that a refused key is wiped as well.
        let key = Self(SecretString::from(text));
        match key.expose() {
            "" => Err(InvalidApiKey::Empty),
            text if text.len() > Self::MAX_BYTES => Err(InvalidApiKey::TooLong),
            text if text.contains('\0') => Err(InvalidApiKey::Nul),
            _ => Ok(key),
        }
    }

    /// The key itself. Call it only where the seat is handed its environment.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// Why a text is not an [`ApiKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// An empty key is a mistake of the caller: leave it out instead.
    #[error("an api key is not empty; leave it out for a seat without one")]
    Empty,
    /// Over [`ApiKey::MAX_BYTES`].
    #[error("an api key has at most {max} bytes", max = ApiKey::MAX_BYTES)]
    TooLong,
    /// An environment variable cannot hold a NUL.
    #[error("an api key has no NUL character")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        let key = ApiKey::new("sk-canary-secret".into()).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "ApiKey(redacted) ApiKey(redacted)");
        assert!(!format!("{:?}", ApiKey::new("sk-canary-\0secret".into())).contains("secret"));
    }

    #[test]
    fn takes_what_an_environment_can_hold_and_nothing_else() {
        let odd = "a \"quoted\" $HOME 'key'\nwith two lines";
        assert_eq!(ApiKey::new(odd.into()).unwrap().expose(), odd);
        assert_eq!(ApiKey::new(String::new()).unwrap_err(), InvalidApiKey::Empty);
        assert_eq!(ApiKey::new("a\0b".into()).unwrap_err(), InvalidApiKey::Nul);
        assert_eq!(ApiKey::new("k".repeat(ApiKey::MAX_BYTES + 1)).unwrap_err(), InvalidApiKey::TooLong);
        assert!(ApiKey::new("k".repeat(ApiKey::MAX_BYTES)).is_ok());
    }
}
