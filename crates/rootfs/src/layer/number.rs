//! Numbers as archives write them.

/// A field of a header: octal digits, or with its first bit set a big-endian binary number (GNU). Empty is 0.
pub(super) fn field(bytes: &[u8]) -> Option<u64> {
    match bytes.first() {
        Some(first @ 0x80..0xff) => {
            let (head, tail) = bytes.split_at(bytes.len().saturating_sub(8));
            // What does not fit into 64 bits is in front of them.
            let high = head.iter().skip(1).any(|&byte| byte != 0) || (!head.is_empty() && first & 0x7f != 0);
            let low = tail.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
            if head.is_empty() { Some(low & (u64::MAX >> 1)) } else { (!high).then_some(low) }
        }
        // A negative one: no size, owner or device is.
        Some(0xff) => None,
        _ => octal(bytes),
    }
}

/// A field of a header that holds a time in seconds: before 1970 it is negative, which only a binary number can be.
pub(super) fn seconds(bytes: &[u8]) -> Option<i64> {
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(8));
    match bytes.first() {
        Some(0xff) => {
            let low = tail.iter().fold(-1_i64, |number, &byte| number << 8 | i64::from(byte));
            (head.iter().all(|&byte| byte == 0xff) && low < 0).then_some(low)
        }
        _ => i64::try_from(field(bytes)?).ok(),
    }
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let text = bytes.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len());
    text[..end].iter().try_fold(0_u64, |number, &digit| {
        let value = u64::from(digit.checked_sub(b'0').filter(|value| *value < 8)?);
        number.checked_mul(8)?.checked_add(value)
    })
}

/// Decimal digits and nothing else.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A time of an extended header: seconds with a sign and a fraction (POSIX.1-2017, pax). Digits beyond nanoseconds are
/// dropped, towards the past.
pub(super) fn time(bytes: &[u8]) -> Option<crate::Time> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut parts = digits.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos =
        (0..9).fold(0, |nanos, at| nanos * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanos) {
        (false, _) => crate::Time { seconds, nanos },
        (true, 0) => crate::Time { seconds: -seconds, nanos: 0 },
        (true, _) => crate::Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::Time;

    #[rstest]
    #[case(b"0000644\0", Some(0o644))]
    #[case(b"   644 \0", Some(0o644))]
    #[case(b"\0\0\0\0\0\0\0\0", Some(0))]
    #[case(b"77777777777\0", Some(8_589_934_591))]
    #[case(b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(8_589_934_592))]
    #[case(b"\x80\0\0\0\x7f\xff\xff\xff", Some(0x7fff_ffff))]
    #[case(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None)]
    #[case(b"\xff\xff\xff\xff\xff\xff\xff\xff", None)]
    #[case(b"\x81\0\0\0\0\0\0\0\0\0\0\0", None)]
    #[case(b"0000648\0", None)]
    #[case(b"-1", None)]
    fn header_fields(#[case] bytes: &[u8], #[case] number: Option<u64>) {
        assert_eq!(field(bytes), number);
    }

    #[rstest]
    #[case(b"00000000017\0", Some(15))]
    #[case(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2))]
    #[case(b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xfe", None)]
    #[case(b"\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xfe", None)]
    #[case(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None)]
    fn times_of_headers(#[case] bytes: &[u8], #[case] expected: Option<i64>) {
        assert_eq!(seconds(bytes), expected);
    }

    #[rstest]
    #[case(b"1700000000", Some((1_700_000_000, 0)))]
    #[case(b"1700000000.5", Some((1_700_000_000, 500_000_000)))]
    #[case(b"0.0000000019", Some((0, 1)))]
    #[case(b"-1.25", Some((-2, 750_000_000)))]
    #[case(b"-3", Some((-3, 0)))]
    #[case(b"1.x", None)]
    #[case(b"", None)]
    #[case(b"1e9", None)]
    #[case(b"99999999999999999999", None)]
    fn times(#[case] bytes: &[u8], #[case] expected: Option<(i64, u32)>) {
        assert_eq!(time(bytes), expected.map(|(seconds, nanos)| Time { seconds, nanos }));
    }
}
