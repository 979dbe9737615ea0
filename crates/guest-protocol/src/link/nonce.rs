//! What makes one question different from all others.

use std::fmt;

/// 128 bits, as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// How many digits it has.
    pub const DIGITS: usize = 32;

    /// A fresh one. It is no secret: it must only be another one each time, whatever process asks.
    #[must_use]
    pub fn fresh() -> Self {
        use std::hash::{BuildHasher as _, Hasher as _, RandomState};
        // The keys of RandomState come from the system's random numbers and change with each state.
        let half = || RandomState::new().build_hasher().finish();
        let text = format!("{:016x}{:016x}", half(), half());
        Self::read(text.as_bytes()).unwrap_or(Self([b'0'; 32]))
    }

    /// Of exactly 32 hex digits.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let digits: [u8; 32] = text.try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(Self(digits))
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ() {
        assert_ne!(Nonce::fresh(), Nonce::fresh());
        assert!(Nonce::read(b"0123456789abcdef0123456789abcdeg").is_none());
        assert!(Nonce::read(b"0123456789abcdef").is_none());
    }
}
