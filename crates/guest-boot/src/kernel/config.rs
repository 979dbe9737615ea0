//! A kernel's configuration: `CONFIG_NAME=y`, as `/boot/config-*` and `/proc/config.gz` have it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::decompress::{Packing, unpack};

/// The largest configuration, in bytes: a distribution's has some 300 KiB.
const MAX_CONFIG: usize = 16 << 20;
/// What is before the packed configuration in a kernel that has it (kernel/configs.c).
const BEGIN: &[u8] = b"IKCFG_ST";

/// How a kernel was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(BTreeMap<String, Setting>);

/// One setting of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `=y`: part of the kernel.
    BuiltIn,
    /// `=m`: a module.
    Module,
    /// A number or a text.
    Value(String),
}

impl Config {
    /// Reads a file, packed or not.
    ///
    /// # Errors
    /// When it cannot be read or is no configuration.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let bytes = match Packing::of(&bytes) {
            Some(packing) => unpack(packing, &bytes, MAX_CONFIG)?,
            None => bytes,
        };
        let config = Self::parse(&String::from_utf8_lossy(&bytes));
        if config.0.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no line CONFIG_…="));
        }
        Ok(config)
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let settings = text.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
        Self(
            settings
                .map(|(name, value)| {
                    let value = match value {
                        "y" => Setting::BuiltIn,
                        "m" => Setting::Module,
                        other => Setting::Value(other.trim_matches('"').into()),
                    };
                    (name.to_owned(), value)
                })
                .collect(),
        )
    }

    /// A setting by its name, without `CONFIG_`; nothing when it is off.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }
}

/// The one in an unpacked kernel.
pub(super) fn embedded(vmlinux: &[u8]) -> Option<Config> {
    find(vmlinux, BEGIN).find_map(|at| {
        let packed = &vmlinux[at + BEGIN.len()..];
        let bytes = unpack(Packing::of(packed)?, packed, MAX_CONFIG).ok()?;
        let config = Config::parse(std::str::from_utf8(&bytes).ok()?);
        (!config.0.is_empty()).then_some(config)
    })
}

/// Where it is found in the bytes, from the beginning on.
pub(super) fn find<'a>(bytes: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = *what.first()?;
        loop {
            let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
            from = at + 1;
            if bytes[at..].starts_with(what) {
                return Some(at);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_read_and_comments_are_off() {
        let config =
            Config::parse("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=\"x\"\nCONFIG_E=5\n");
        assert_eq!(config.get("A"), None);
        assert_eq!(config.get("B"), Some(&Setting::BuiltIn));
        assert_eq!(config.get("C"), Some(&Setting::Module));
        assert_eq!(config.get("D"), Some(&Setting::Value("x".into())));
    }

    #[test]
    fn the_one_in_a_kernel_is_found_after_what_only_looks_like_it() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"CONFIG_OVERLAY_FS=m\n").unwrap();
        let mut kernel = b"abc IKCFG_ST IKCFGIKCFG_ST".to_vec();
        assert_eq!(embedded(&kernel), None);
        kernel.extend(gzip.finish().unwrap());
        kernel.extend(b"IKCFG_ED more");
        assert_eq!(embedded(&kernel).unwrap().get("OVERLAY_FS"), Some(&Setting::Module));
    }
}
