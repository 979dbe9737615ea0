//! A module's file, read and unpacked.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::{Module, ModuleError, ModuleInfo, ModuleName};
use crate::decompress::{Packing, unpack};

/// The largest module, unpacked, in bytes: the largest of a distribution's kernel have some 10 MiB.
const MAX_MODULE: usize = 64 << 20;

impl Module {
    pub(super) fn read(name: ModuleName, path: &Path) -> Result<Self, ModuleError> {
        let wrong = |why| ModuleError::File { path: path.into(), why };
        let content = content(path).map_err(wrong)?;
        let info = ModuleInfo::read(&content).map_err(wrong)?;
        Ok(Self { name, path: path.into(), content, info })
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_MODULE as u64 + 1).read_to_end(&mut bytes)?;
    match Packing::of(&bytes) {
        Some(packing) => unpack(packing, &bytes, MAX_MODULE),
        None if bytes.len() > MAX_MODULE => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 64 MiB"))
        }
        None => Ok(bytes),
    }
}
