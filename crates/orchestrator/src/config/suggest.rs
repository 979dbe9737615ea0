//! "Did you mean …?"

/// The candidate that `given` most resembles, when it resembles one at all. A dotted candidate is also compared
/// by its last part, so that `max` finds `seats.max`.
pub(crate) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let score = |candidate: &str| {
        let leaf = candidate.rsplit('.').next().unwrap_or(candidate);
        let given_leaf = given.rsplit('.').next().unwrap_or(given);
        let whole = strsim::normalized_damerau_levenshtein(given, candidate);
        // Slightly less than a whole match, so that the key in the right section wins.
        whole.max(strsim::normalized_damerau_levenshtein(given_leaf, leaf) * 0.95)
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("seats.maks", Some("seats.max"))]
    #[case("max", Some("seats.max"))]
    #[case("lsiten", Some("listen"))]
    #[case("zzz", None)]
    fn finds_what_was_meant(#[case] given: &str, #[case] meant: Option<&str>) {
        assert_eq!(nearest(given, ["listen", "seats.max", "seats.image"]), meant);
    }
}
