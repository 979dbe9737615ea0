//! The bearer token (RFC 6750).

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digest of the token that callers must send.
///
/// Digests are compared instead of texts, in constant time, so that neither a common beginning nor the length
/// shows in how long the answer takes.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    pub(super) fn matches(&self, presented: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        // An empty token would be one that everybody has.
        !presented.is_empty() && bool::from(self.0.ct_eq(&digest))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// The token of the one `Authorization` header, when its scheme is `Bearer`.
pub(super) fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(space);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Bearer right", true)]
    #[case("bearer   right", true)]
    #[case("Bearer wrong", false)]
    #[case("Bearer right2", false)]
    #[case("Bearer ", false)]
    #[case("Bearer", false)]
    #[case("Basic right", false)]
    #[case("right", false)]
    fn tokens(#[case] header: &'static str, #[case] good: bool) {
        let token = Token::new(&"right".into());
        let mut headers = HeaderMap::new();
        assert!(presented(&headers).is_none());
        headers.append(AUTHORIZATION, HeaderValue::from_static(header));
        assert_eq!(presented(&headers).is_some_and(|presented| token.matches(presented)), good);
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer right"));
        assert!(presented(&headers).is_none(), "two headers are none");
    }

    #[test]
    fn an_empty_token_is_never_right() {
        assert!(!Token::new(&"".into()).matches(b""));
    }
}
