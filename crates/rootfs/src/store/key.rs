//! What an entry is found by.

use std::fmt;
use std::str::FromStr;

use crate::build::{CONVERTER, Options};
use crate::ext4::Size;
use crate::source::Image;
use crate::{Digest, ImageFile, Init};

/// Everything that decides the bytes of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The image: the digest of its configuration.
    pub image: Digest,
    /// The operating system and processor, as `linux/amd64`.
    pub platform: String,
    /// The version of the converter.
    pub converter: String,
    /// What writes the file system.
    pub writer: String,
    /// The digest of the init program that is placed.
    pub init: Option<Digest>,
    /// The size that was asked for, in bytes; nothing for one that fits.
    pub size: Option<u64>,
}

impl Key {
    /// What this converter makes of an image.
    #[must_use]
    pub fn of(image: &Image, options: &Options) -> Self {
        Self::known(image.id, format!("{}/{}", image.config.os, image.config.architecture), options)
    }

    /// What this converter makes of an image of which no more is known than its digest and its platform, as `linux/amd64`.
    #[must_use]
    pub fn known(image: Digest, platform: String, options: &Options) -> Self {
        Self {
            image,
            platform,
            converter: CONVERTER.to_owned(),
            writer: options.writer.as_str().to_owned(),
            init: options.init.as_ref().map(Init::digest),
            size: match options.size {
                Size::Fitting => None,
                Size::Exactly(bytes) => Some(bytes),
            },
        }
    }

    /// The name of the entry.
    #[must_use]
    pub fn name(&self) -> EntryName {
        let Self { image, platform, converter, writer, init, size } = self;
        // The document is part of an entry: another version of it must not take the place of one that somebody uses.
        let schema = ImageFile::SCHEMA;
        // Lines, since none of them can hold a line end that would make two keys one text; `?` quotes those that come
        // from outside.
        let variant = format!("{schema}\n{platform:?}\n{converter:?}\n{writer:?}\n{init:?}\n{size:?}\n");
        let variant = Digest::of(variant.as_bytes()).hex();
        EntryName(format!("{}-{}", image.hex(), &variant[..12]).into_boxed_str())
    }
}

/// The name of an entry: the digits of the image's digest, and twelve for everything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Box<str>);

impl EntryName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EntryName {
    type Err = BadEntryName;

    fn from_str(text: &str) -> Result<Self, BadEntryName> {
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.split_once('-') {
            Some((image, variant))
                if image.len() == 64 && variant.len() == 12 && is_hex(image) && is_hex(variant) =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(BadEntryName),
        }
    }
}

/// A text that names no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry is named by 64 hexadecimal digits, a dash and 12 more")]
pub struct BadEntryName;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn key() -> Key {
        Key {
            image: Digest::of(b"image"),
            platform: "linux/amd64".into(),
            converter: "1".into(),
            writer: "mkext4".into(),
            init: None,
            size: None,
        }
    }

    #[test]
    fn whatever_changes_the_bytes_changes_the_name() {
        let name = key().name();
        assert_eq!(name.as_str().parse::<EntryName>().as_ref(), Ok(&name));
        assert_eq!(key().name(), name);
        let others = [
            Key { image: Digest::of(b"other"), ..key() },
            Key { platform: "linux/arm64".into(), ..key() },
            Key { converter: "2".into(), ..key() },
            Key { writer: "mke2fs".into(), ..key() },
            Key { init: Some(Digest::of(b"init")), ..key() },
            Key { size: Some(1 << 30), ..key() },
        ];
        for other in others {
            assert_ne!(other.name(), name);
        }
    }

    #[rstest]
    #[case("")]
    #[case("../../../../etc")]
    #[case(".locks")]
    #[case("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    #[case("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855-0123456789aB")]
    fn other_texts_name_none(#[case] text: &str) {
        assert_eq!(text.parse::<EntryName>(), Err(BadEntryName));
    }
}
