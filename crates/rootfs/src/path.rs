//! Names and paths inside an image: bytes, as Linux has them.

use std::fmt;

/// The most bytes of a name (`NAME_MAX`, linux/limits.h).
pub const MAX_NAME: usize = 255;
/// The most bytes of a path (`PATH_MAX`, linux/limits.h); no program of the image could name a longer one at once.
pub const MAX_PATH: usize = 4096;

/// A path from the root of the image: names joined by single slashes, without `.`, `..` or a slash at either end. The
/// root itself is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// Reads a path as archives write it: `./etc/passwd`, `/etc/passwd` and `etc/passwd/` are all the same.
    ///
    /// # Errors
    /// With what is wrong: a `..`, a NUL, or a name or path that is too long.
    pub fn parse(raw: &[u8]) -> Result<Self, BadPath> {
        if raw.len() > MAX_PATH {
            return Err(BadPath::Long);
        }
        if raw.contains(&0) {
            return Err(BadPath::Nul);
        }
        let mut path = Vec::with_capacity(raw.len());
        for name in raw.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(BadPath::Parent),
                _ if name.len() > MAX_NAME => return Err(BadPath::LongName),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Ok(Self(path.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its names from the root on.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// The folder that it is in, and its own name; nothing for the root.
    #[must_use]
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        })
    }
}

/// As people read it: from the root, with what is not UTF-8 or not printable escaped.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", shown(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of an image for a message: hostile ones must not steer a terminal, nor fill it.
#[must_use]
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let mut text = String::new();
    for chunk in bytes[..bytes.len().min(MOST)].utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if bytes.len() > MOST {
        text.push('…');
    }
    text
}

/// Why bytes are no path of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It leaves its folder.
    #[error("it has a '..'")]
    Parent,
    /// No path has one.
    #[error("it has a NUL")]
    Nul,
    /// [`MAX_PATH`]
    #[error("it is longer than {MAX_PATH} bytes")]
    Long,
    /// [`MAX_NAME`]
    #[error("it has a name of more than {MAX_NAME} bytes")]
    LongName,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"", "/")]
    #[case(b"./", "/")]
    #[case(b"/", "/")]
    #[case(b"./etc//passwd/", "/etc/passwd")]
    #[case(b"/usr/./bin", "/usr/bin")]
    #[case(b"a..b/...", "/a..b/...")]
    #[case(b"caf\xe9/\x1b[2J", "/caf\\xe9/\\u{1b}[2J")]
    fn archives_write_paths_in_many_ways(#[case] raw: &[u8], #[case] path: &str) {
        assert_eq!(EntryPath::parse(raw).unwrap().to_string(), path);
    }

    #[rstest]
    #[case(b"..", BadPath::Parent)]
    #[case(b"a/../../etc", BadPath::Parent)]
    #[case(b"/..", BadPath::Parent)]
    #[case(b"a\0b", BadPath::Nul)]
    #[case(&[b'a'; 256], BadPath::LongName)]
    #[case(&[b'/'; 4097], BadPath::Long)]
    fn what_is_no_path_is_refused(#[case] raw: &[u8], #[case] why: BadPath) {
        assert_eq!(EntryPath::parse(raw), Err(why));
    }

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        let split = |raw: &[u8]| {
            let path = EntryPath::parse(raw).unwrap();
            path.split().map(|(folder, name)| (folder.to_vec(), name.to_vec()))
        };
        assert_eq!(split(b"/"), None);
        assert_eq!(split(b"a"), Some((b"".to_vec(), b"a".to_vec())));
        assert_eq!(split(b"a/b/c"), Some((b"a/b".to_vec(), b"c".to_vec())));
    }

    proptest! {
        #[test]
        fn a_path_never_leaves_the_root(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(path) = EntryPath::parse(&raw) {
                prop_assert!(path.names().all(|name| !name.is_empty() && name != b"." && name != b".."));
                prop_assert_eq!(EntryPath::parse(path.as_bytes()).unwrap(), path);
            }
        }
    }
}
