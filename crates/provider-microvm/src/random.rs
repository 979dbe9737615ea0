//! Random numbers of the kernel.

use std::fmt::Write as _;
use std::io;

/// Bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The same as twice as many hex digits.
pub(crate) fn hex<const N: usize>() -> io::Result<String> {
    Ok(digits(&bytes::<N>()?))
}

/// Bytes as hex digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hex digits as bytes.
pub(crate) fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_back() {
        let bytes = bytes::<32>().unwrap();
        assert_eq!(parse::<32>(&digits(&bytes)), Some(bytes));
        assert_ne!(hex::<32>().unwrap(), hex::<32>().unwrap());
        assert_eq!(parse::<1>("+1"), None);
        assert_eq!(parse::<2>("00"), None);
    }
}
