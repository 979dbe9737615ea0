//! "Did you mean": the known name that an unknown one resembles.

/// The message for a name that nobody knows.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown {what}; did you mean '{near}'?"),
        None if known.is_empty() => format!("unknown {what}; there is none here"),
        None => format!("unknown {what}; known are {}", known.join(", ")),
    }
}

/// The known name with the fewest typing mistakes, when they are few for its length.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // The distance costs the product of both lengths; no known name is nearly this long.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("imgae", Some("image"))]
    #[case("apiKey", Some("api_key"))]
    #[case("API_KEY", Some("api_key"))]
    #[case("seats", Some("seat"))]
    #[case("expires_in", None)]
    #[case("", None)]
    fn finds_typing_mistakes_only(#[case] name: &str, #[case] near: Option<&str>) {
        assert_eq!(nearest(name, &["seat", "api_key", "image", "env", "limits"]), near);
    }

    #[test]
    fn a_long_name_costs_nothing() {
        assert_eq!(nearest(&"x".repeat(100_000), &["seat"]), None);
    }
}
