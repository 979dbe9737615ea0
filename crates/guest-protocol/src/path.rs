//! Paths inside the seat.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes of a path (`PATH_MAX` of limits.h, with its NUL).
const MOST: usize = 4095;

/// An absolute path inside the seat, without `..`, `.` or empty parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct GuestPath(String);

impl GuestPath {
    /// The path as text; it begins with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below the root: without its first `/`, and `.` for the root itself.
    #[must_use]
    pub fn below_root(&self) -> &str {
        match &self.0[1..] {
            "" => ".",
            path => path,
        }
    }

    /// The last part of it; nothing for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no path inside a seat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no path inside a seat: {why}")]
pub struct BadPath {
    text: String,
    why: &'static str,
}

impl FromStr for GuestPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let bad = |why| Err(BadPath { text: text.chars().take(100).collect(), why });
        if !text.starts_with('/') {
            return bad("it must begin with /");
        }
        if text.len() > MOST {
            return bad("it has more than 4095 bytes");
        }
        if text.contains('\0') {
            return bad("it has a NUL");
        }
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        let mut clean = String::with_capacity(text.len());
        for part in parts {
            match part {
                ".." => return bad("it must not contain .."),
                part if part.len() > 255 => return bad("a name in it has more than 255 bytes"),
                part => {
                    clean.push('/');
                    clean.push_str(part);
                }
            }
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(clean))
    }
}

impl TryFrom<String> for GuestPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        text.parse()
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_clean() {
        let path = |text: &str| text.parse::<GuestPath>();
        assert_eq!(path("/workspace//a/./b/").unwrap().as_str(), "/workspace/a/b");
        assert_eq!(path("/").unwrap().below_root(), ".");
        assert_eq!(path("/a").unwrap().below_root(), "a");
        assert_eq!((path("/").unwrap().name(), path("/a/b").unwrap().name()), (None, Some("b")));
        for bad in ["", "a", "/a/../b", "/..", "/a\0b"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        assert!(path(&format!("/{}", "x".repeat(256))).is_err());
        assert!(path(&"/xxx".repeat(1024)).is_err());
    }
}
