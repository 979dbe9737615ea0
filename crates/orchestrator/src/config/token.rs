//! The token that clients send to the service.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::Surroundings;
use super::problem::{Problem, Source};

/// A bearer token; `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub(crate) struct Token(SecretString);

impl Token {
    /// The text, for the place where it is compared or sent.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The token as a secret, for who takes one.
    pub(crate) fn secret(&self) -> SecretString {
        self.0.clone()
    }

    /// Finds the token in the file, or in `ORCHESTRATOR_TOKEN`. A flag outranks the variable; otherwise two
    /// tokens are a mistake, because nobody could tell which one counts.
    ///
    /// # Errors
    /// When a token is given but cannot be read or sent.
    pub(crate) fn find(
        file: Option<&Path>,
        chosen_by_flag: bool,
        surroundings: &Surroundings,
    ) -> Result<Option<Self>, Problem> {
        let variable = surroundings.variable("ORCHESTRATOR_TOKEN");
        match (file, variable) {
            (Some(_), Some(_)) if !chosen_by_flag => {
                Err(Problem::of_all("a token_file and ORCHESTRATOR_TOKEN are both set: keep one of them"))
            }
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Problem::of_all(format!("cannot read the token file {}: {error}", file.display()))
                })?;
                let line = text
                    .strip_suffix('\n')
                    .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
                Self::new(line)
                    .map(Some)
                    .map_err(|why| Problem::of_all(format!("the token file {}: {why}", file.display())))
            }
            (None, Some(text)) => Self::new(&text.to_string_lossy())
                .map(Some)
                .map_err(|why| Problem::at(Source::Variable("ORCHESTRATOR_TOKEN".into()), why)),
            (None, None) => Ok(None),
        }
    }

    /// Takes what a header can carry after `Bearer ` (RFC 6750, section 2.1), a little more generously.
    fn new(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the token is empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one word of printable ASCII characters");
        }
        Ok(Self(SecretString::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_header_can_carry_and_never_shown() {
        assert!(Token::new("").is_err());
        assert!(Token::new("two words").is_err());
        assert!(Token::new("line\n").is_err());
        let token = Token::new("sk-canary-s3cret+/=~").unwrap();
        assert_eq!(token.expose(), "sk-canary-s3cret+/=~");
        assert!(!format!("{token:?}").contains("sk-canary-s3cret"));
    }
}
