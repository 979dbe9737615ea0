//! What a registry answers to who has not proven who it is (RFC 9110, section 11.6.1).

/// A way to prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// With a token that `realm` gives.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// A challenge that is known.
pub(super) fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    let mut rest = rest.trim();
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.find(',').map_or((value, ""), |end| value.split_at(end)),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"Bearer realm="https://a.b/t",service="c d",scope="repository:e:pull,push""#, Some(("https://a.b/t", Some("c d"))))]
    #[case("bearer service=x, realm=y", Some(("y", Some("x"))))]
    #[case(r#"Bearer realm="y""#, Some(("y", None)))]
    #[case(r#"Bearer service="y""#, None)]
    #[case(r#"Bearer realm="y"#, None)]
    #[case("Negotiate", None)]
    #[case("", None)]
    fn where_tokens_are_given(#[case] header: &str, #[case] expected: Option<(&str, Option<&str>)>) {
        let expected = expected.map(|(realm, service)| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        });
        assert_eq!(challenge(header), expected);
    }

    #[test]
    fn a_name_and_a_password_may_do() {
        assert_eq!(challenge(r#"Basic realm="x""#), Some(Challenge::Basic));
    }
}
