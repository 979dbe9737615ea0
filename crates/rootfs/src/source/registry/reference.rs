//! What an image is called in a registry (the grammar of `distribution/reference`, with Docker's defaults).

use std::net::IpAddr;
use std::str::FromStr;

use crate::Digest;

/// What stands for Docker's own registry in names.
const HUB: &str = "docker.io";
const MOST_NAME: usize = 255;
const MOST_TAG: usize = 128;

/// A registry, a repository in it, and a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Host, and perhaps a port.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) tag: String,
    /// Counts more than the tag.
    pub(super) digest: Option<Digest>,
}

impl Reference {
    /// Where its interface is.
    pub(super) fn host(&self) -> &str {
        if self.registry == HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// What Docker's configuration calls its registry.
    pub(super) fn credentials_key(&self) -> &str {
        if self.registry == HUB { "https://index.docker.io/v1/" } else { &self.registry }
    }

    /// What is asked for: the digest, or the tag.
    pub(super) fn wanted(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone(), |digest| digest.to_string())
    }
}

impl FromStr for Reference {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| "what follows @ is no digest")?)),
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (HUB, rest),
        };
        let registry = if registry == "index.docker.io" { HUB } else { registry };
        if !is_host(registry) {
            return Err("its registry is no host with or without a port");
        }
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let is_part = |part: &str| {
            let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            ends(part.as_bytes().first()) && ends(part.as_bytes().last())
        };
        let is_lower =
            name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/'));
        if name.len() > MOST_NAME || !is_lower || !name.split('/').all(is_part) {
            return Err("its name is not of lower case letters, digits, and . _ - / between them");
        }
        let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if tag.is_empty() || tag.len() > MOST_TAG || tag.starts_with(['.', '-']) || !tag.bytes().all(is_tag) {
            return Err("its tag is not of letters, digits, and . _ -");
        }
        let repository =
            if registry == HUB && !name.contains('/') { format!("library/{name}") } else { name.to_owned() };
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned(), digest })
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = split_port(text);
    let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && name,
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(text: &str) -> bool {
    let host = split_port(text).0.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("busybox", "docker.io", "library/busybox", "latest")]
    #[case("busybox:1", "docker.io", "library/busybox", "1")]
    #[case("a/b:1.2-x", "docker.io", "a/b", "1.2-x")]
    #[case("index.docker.io/a", "docker.io", "library/a", "latest")]
    #[case("localhost/a", "localhost", "a", "latest")]
    #[case("localhost:5000/a/b/c", "localhost:5000", "a/b/c", "latest")]
    #[case("quay.io/a/b__c:v1", "quay.io", "a/b__c", "v1")]
    #[case("[::1]:5000/a:b", "[::1]:5000", "a", "b")]
    fn names_have_dockers_defaults(
        #[case] text: &str,
        #[case] registry: &str,
        #[case] repository: &str,
        #[case] tag: &str,
    ) {
        let parsed: Reference = text.parse().unwrap();
        let expected = (registry, repository, tag);
        assert_eq!((&*parsed.registry, &*parsed.repository, &*parsed.tag), expected);
        assert_eq!(parsed.wanted(), tag);
    }

    #[test]
    fn a_digest_counts_more_than_a_tag() {
        let digest = Digest::of(b"");
        let parsed: Reference = format!("a.b/c:1@{digest}").parse().unwrap();
        assert_eq!((parsed.repository.as_str(), parsed.wanted()), ("c", digest.to_string()));
    }

    #[rstest]
    #[case("")]
    #[case("A")]
    #[case("a b")]
    #[case("a:")]
    #[case("a:-b")]
    #[case("a/../b")]
    #[case("a//b")]
    #[case("a.b/")]
    #[case("a@sha256:1")]
    #[case("user:word@a.b/c")]
    #[case("a.b:0/c")]
    #[case("a.b:x/c")]
    #[case("https://a.b/c")]
    #[case("a?b=c")]
    fn other_texts_are_none(#[case] text: &str) {
        assert!(text.parse::<Reference>().is_err());
    }

    #[rstest]
    #[case("localhost", true)]
    #[case("127.0.0.1:5000", true)]
    #[case("[::1]:5000", true)]
    #[case("localhost.example:5000", false)]
    #[case("127.0.0.1.example", false)]
    #[case("10.0.0.1", false)]
    fn this_machine_is_known(#[case] host: &str, #[case] loopback: bool) {
        assert_eq!(is_loopback(host), loopback);
    }
}
