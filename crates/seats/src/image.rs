//! Image references.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;

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
        // The reference grammar is ASCII; the library's word characters are not.
        if !text.is_ascii() {
            return Err(InvalidImageRef("it has characters outside ASCII".into()));
        }
        let reference: Reference = text.parse().map_err(|error| {
            // The library's messages start upper case in some cases; ours are clauses.
            InvalidImageRef(format!("{error}").to_lowercase().into())
        })?;
        Ok(Self { given: text.into(), canonical: reference.whole().into() })
    }
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
    fn fills_in_what_is_left_out(#[case] given: &str, #[case] canonical: &str) {
        let image: ImageRef = given.parse().unwrap();
        assert_eq!((image.as_str(), image.canonical()), (given, canonical));
        assert_eq!(image, canonical.parse().unwrap());
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
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
    }
}
