//! Durations in a query: `30s`, `1m`, `500ms`, or plain seconds.

use std::time::Duration;

/// The units, the longest suffix first so that `ms` is not read as `s`.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("", 1000)];

/// # Errors
/// When the text is not a whole number without a leading zero and a unit, or it is above `most`.
pub(super) fn parse(text: &str, most: Duration) -> Result<Duration, String> {
    let wrong =
        || format!("a duration is a number with ms, s or m, such as 30s, and at most {}s", most.as_secs());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale =
        UNITS.iter().find(|(suffix, _)| *suffix == unit).map(|(_, scale)| *scale).ok_or_else(wrong)?;
    if number.len() > 1 && number.starts_with('0') {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let duration = Duration::from_millis(number.checked_mul(scale).ok_or_else(wrong)?);
    if duration > most { Err(wrong()) } else { Ok(duration) }
}

/// The same rule as a regular expression, for the OpenAPI document.
pub(crate) fn pattern(most: Duration) -> String {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    let (ms, s, m) = (up_to(millis), up_to(millis / 1000), up_to(millis / 60_000));
    format!("^(({ms})ms|({s})s?|({m})m)$")
}

/// A regular expression for the whole numbers from 0 to `most` without leading zeros.
pub(crate) fn up_to(most: u64) -> String {
    let digits = most.to_string();
    let mut choices = Vec::new();
    // Every number with fewer digits …
    if digits.len() > 1 {
        choices.push("[0-9]".to_owned());
    }
    if digits.len() > 2 {
        choices.push(format!("[1-9][0-9]{{1,{}}}", digits.len() - 2));
    }
    // … and those with as many digits that fall below at one of them.
    for (place, digit) in digits.bytes().enumerate() {
        let lowest = if place == 0 && digits.len() > 1 { b'1' } else { b'0' };
        if digit > lowest {
            let (head, rest) = (&digits[..place], digits.len() - place - 1);
            let tail = if rest == 0 { String::new() } else { format!("[0-9]{{{rest}}}") };
            choices.push(format!("{head}[{}-{}]{tail}", char::from(lowest), char::from(digit - 1)));
        }
    }
    choices.push(digits);
    choices.join("|")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use rstest::rstest;

    use super::*;

    const MOST: Duration = Duration::from_secs(600);

    #[rstest]
    #[case("0s", 0)]
    #[case("0", 0)]
    #[case("30s", 30_000)]
    #[case("1m", 60_000)]
    #[case("10m", 600_000)]
    #[case("500ms", 500)]
    #[case("600", 600_000)]
    fn reads(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(parse(text, MOST), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case("")]
    #[case("s")]
    #[case("-1s")]
    #[case("+1s")]
    #[case("1.5s")]
    #[case("01s")]
    #[case("1 s")]
    #[case("1h")]
    #[case("601s")]
    #[case("11m")]
    #[case("600001ms")]
    #[case("99999999999999999999999s")]
    #[case("18446744073709551615m")]
    #[case("١s")]
    fn refuses(#[case] text: &str) {
        assert!(parse(text, MOST).is_err(), "{text}");
    }

    #[rstest]
    #[case(0, "0")]
    #[case(10, "[0-9]|10")]
    #[case(600, "[0-9]|[1-9][0-9]{1,1}|[1-5][0-9]{2}|600")]
    fn the_pattern_is_exact(#[case] most: u64, #[case] pattern: &str) {
        assert_eq!(up_to(most), pattern);
    }

    /// A limit, and a text that its pattern allows. (The generator takes no anchors.)
    fn allowed() -> impl Strategy<Value = (Duration, String)> {
        (0u64..2_000_000).prop_flat_map(|millis| {
            let most = Duration::from_millis(millis);
            let pattern = pattern(most);
            let texts = string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap();
            (Just(most), texts)
        })
    }

    proptest! {
        #[test]
        fn what_the_pattern_allows_is_read((most, text) in allowed()) {
            prop_assert!(parse(&text, most).is_ok(), "{} within {:?}", text, most);
        }

        #[test]
        fn numbers_are_read_up_to_the_most(most in 0u64..100_000, number in 0u64..200_000) {
            let limit = Duration::from_millis(most);
            prop_assert_eq!(parse(&format!("{number}ms"), limit).is_ok(), number <= most);
        }
    }
}
