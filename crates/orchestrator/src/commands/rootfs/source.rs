//! Where an image is, as people write it: a path, a name, or one of skopeo's transports (containers-transports(5)).

use std::path::PathBuf;

use crate::exit::{Exit, Failure};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A `docker save` archive or an OCI layout, which tell themselves apart; and which of its images.
    File {
        /// The file or folder.
        path: PathBuf,
        /// The image in it.
        name: Option<String>,
    },
    /// The Docker engine.
    Engine(String),
    /// A registry.
    Registry(String),
}

impl Source {
    /// What was written. A text that is a path of something is that; everything else is the engine's.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(Exit::Usage, format!("{text:?} names no image: {why}")).remedy(
                "name an image of the engine, the path of an archive or layout, or docker://NAME for a registry's",
            )
        };
        if let Some(name) = text.strip_prefix("docker://") {
            return if name.is_empty() {
                Err(wrong("a name is missing"))
            } else {
                Ok(Self::Registry(name.into()))
            };
        }
        if let Some(name) = text.strip_prefix("docker-daemon:") {
            return if name.is_empty() {
                Err(wrong("a name is missing"))
            } else {
                Ok(Self::Engine(name.into()))
            };
        }
        for transport in ["docker-archive:", "oci-archive:", "oci:"] {
            let Some(rest) = text.strip_prefix(transport) else { continue };
            let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            if path.is_empty() || name == Some("") {
                return Err(wrong("a path is missing, or a name after the colon"));
            }
            return Ok(Self::File { path: path.into(), name: name.map(str::to_owned) });
        }
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        let path = PathBuf::from(text);
        if text.starts_with(['/', '.', '~']) || path.exists() {
            return Ok(Self::File { path, name: None });
        }
        Ok(Self::Engine(text.into()))
    }

    /// What the image is called, where it was asked for by a name.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::File { name, .. } => name.iter().cloned().collect(),
            Self::Engine(name) | Self::Registry(name) => vec![name.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn file(path: &str, name: Option<&str>) -> Source {
        Source::File { path: path.into(), name: name.map(str::to_owned) }
    }

    #[rstest]
    #[case("clarateach-workspace", Source::Engine("clarateach-workspace".into()))]
    #[case("localhost:5000/a/b:1", Source::Engine("localhost:5000/a/b:1".into()))]
    #[case("docker-daemon:a:1", Source::Engine("a:1".into()))]
    #[case("docker://a/b:1", Source::Registry("a/b:1".into()))]
    #[case("/x/image.tar", file("/x/image.tar", None))]
    #[case("./image.tar", file("./image.tar", None))]
    #[case("docker-archive:image.tar", file("image.tar", None))]
    #[case("docker-archive:image.tar:a:1", file("image.tar", Some("a:1")))]
    #[case("oci:layout:latest", file("layout", Some("latest")))]
    #[case("oci-archive:/x", file("/x", None))]
    // The crate's folder: what is there is a path.
    #[case("src", file("src", None))]
    fn texts(#[case] text: &str, #[case] expected: Source) {
        assert_eq!(Source::parse(text), Ok(expected));
    }

    #[rstest]
    #[case("")]
    #[case("docker://")]
    #[case("docker-daemon:")]
    #[case("oci:")]
    #[case("docker-archive:a:")]
    fn texts_that_name_nothing(#[case] text: &str) {
        assert_eq!(Source::parse(text).unwrap_err().exit, Exit::Usage);
    }
}
