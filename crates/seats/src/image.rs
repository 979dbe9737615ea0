//! Image references.

use std::fmt;
use std::str::FromStr;

/// A Docker image reference, such as `clarateach-workspace`, `ghcr.io/org/image:1.2` or `name@sha256:…`.
///
/// The text is kept as it was given, because the engine looks local images up by it; two references are equal
/// when they mean the same image (`a` is `docker.io/library/a:latest`).
#[derive(Clone)]
pub struct ImageRef {
    given: Box<str>,
    canonical: Box<str>,
}

impl ImageRef {
    /// The most bytes of a reference: the reference grammar allows 255 for the name, 128 for a tag, and a digest.
    pub const MAX_BYTES: usize = 512;

    /// The reference as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Whether an image with these names, tags and digests goes by this reference, rather than by its id: an engine takes a
    /// name that it does not know for the beginning of an id, and then any image could be meant.
    #[must_use]
    pub fn is_among<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> bool {
        let digest = self.given.split_once('@').map(|(_, digest)| digest);
        names.into_iter().any(|name| {
            name.parse::<Self>().is_ok_and(|known| known == *self)
                || digest.is_some_and(|digest| name.ends_with(digest))
        })
    }

    /// The reference with registry, namespace and tag filled in.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl FromStr for ImageRef {
    type Err = InvalidImageRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidImageRef("it is too long".into()));
        }
        let canonical = canonical(text).map_err(|why| InvalidImageRef(why.into()))?;
        Ok(Self { given: text.into(), canonical: canonical.into() })
    }
}

/// Checks a reference and fills in what is left out.
///
/// The grammar is that of the distribution project (`reference/reference.go`), and so are the defaults (its
/// `normalize.go`). It is written out here because the usual library compiles it into a regular expression that
/// takes 12 MB of memory, as much as the rest of the service.
fn canonical(text: &str) -> Result<String, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it, a port.
    let path_at = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_at..].split_once(':') {
        Some((last, tag)) => (&rest[..path_at + last.len()], Some(tag)),
        None => (rest, None),
    };
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if looks_like_domain(first) && is_domain(first) => (first, path.to_owned()),
        Some(_) => (DOCKER_HUB, name.to_owned()),
        None => (DOCKER_HUB, format!("library/{name}")),
    };
    let domain = if domain == "index.docker.io" { DOCKER_HUB } else { domain };
    if !path.split('/').all(is_component) {
        return Err("its name has other than lower case letters, digits and single separators");
    }
    if domain.len() + path.len() >= MAX_NAME {
        return Err("its name is too long");
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("its tag has other than 128 letters, digits, '_', '.' and '-'");
    }
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("its digest is not sha256:, sha384: or sha512: and its lower case hexadecimal digits");
    }
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Ok(format!("{domain}/{path}{tag}{digest}"))
}

const DOCKER_HUB: &str = "docker.io";

/// The most bytes of registry and name together.
const MAX_NAME: usize = 255;

/// Whether what stands before the first slash is meant as a registry, rather than as an organization.
fn looks_like_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Runs of letters and digits, between them one of `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well = bytes.first().is_some_and(|b| is_word(*b)) && bytes.last().is_some_and(|b| is_word(*b));
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends_well
        && separators
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

/// The algorithms that Docker knows, and their digests in lower case (OCI image specification, "Digests").
fn is_digest(digest: &str) -> bool {
    let (hex, length) = match digest.split_once(':') {
        Some(("sha256", hex)) => (hex, 64),
        Some(("sha384", hex)) => (hex, 96),
        Some(("sha512", hex)) => (hex, 128),
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl PartialEq for ImageRef {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for ImageRef {}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageRef({})", self.given)
    }
}

/// Why a text is not an [`ImageRef`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an image reference ({0}); write it as name, name:tag or registry/name@sha256:…")]
pub struct InvalidImageRef(Box<str>);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("clarateach-workspace", "docker.io/library/clarateach-workspace:latest")]
    #[case("a/b:1", "docker.io/a/b:1")]
    #[case("localhost:5000/x", "localhost:5000/x:latest")]
    #[case("localhost/x:2", "localhost/x:2")]
    #[case("ghcr.io/school/a__b.c--d:V_1.x-y", "ghcr.io/school/a__b.c--d:V_1.x-y")]
    #[case("[::1]:5000/x", "[::1]:5000/x:latest")]
    #[case("index.docker.io/a", "docker.io/a:latest")]
    #[case("Registry/a", "Registry/a:latest")]
    #[case("a.0_a/0", "docker.io/a.0_a/0:latest")]
    fn fills_in_what_is_left_out(#[case] given: &str, #[case] canonical: &str) {
        let image: ImageRef = given.parse().unwrap();
        assert_eq!((image.as_str(), image.canonical()), (given, canonical));
        assert_eq!(image, canonical.parse().unwrap());
    }

    #[test]
    fn lengths_are_bounded_and_digests_kept() {
        let digest = format!("a@sha256:{}", "0f".repeat(32));
        let image: ImageRef = digest.parse().unwrap();
        assert_eq!(image.canonical(), format!("docker.io/library/{digest}"));
        assert!(format!("a:{}", "t".repeat(128)).parse::<ImageRef>().is_ok());
        assert!(format!("a:{}", "t".repeat(129)).parse::<ImageRef>().is_err());
        assert!(format!("ghcr.io/{}", "n".repeat(250)).parse::<ImageRef>().is_err());
    }

    #[rstest]
    #[case("")]
    #[case("UPPER")]
    #[case("a b")]
    #[case("a:b:c")]
    #[case("-x")]
    #[case("../../etc")]
    #[case("a\n")]
    #[case("name:\u{e9}")]
    #[case("a:")]
    #[case("a//b")]
    #[case("a/")]
    #[case("/a")]
    #[case("a._b")]
    #[case("a___b")]
    #[case("a.")]
    #[case("host.:5000/a")]
    #[case("host:port/a")]
    #[case("a@sha256:12")]
    #[case("a@md5:d41d8cd98f00b204e9800998ecf8427e")]
    #[case("a@")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
    }
}
