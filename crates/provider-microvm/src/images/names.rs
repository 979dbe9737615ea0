//! What the names of images mean on this host: one small file for each name, which says which converted image it is.
//!
//! ```text
//!   {state_dir}/microvm/names/{digest of the name}.json
//! ```
//!
//! It is what a name means when nobody else says so: an engine that can be asked knows better.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rootfs::store::EntryName;
use seats::ImageRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{random, records};

/// What the names of images mean.
#[derive(Clone, Debug)]
pub struct ImageNames(PathBuf);

#[derive(Serialize, Deserialize)]
struct Record {
    schema: u32,
    image: String,
    entry: String,
}

const SCHEMA: u32 = 1;

impl ImageNames {
    /// Those of a service's state folder. Nothing is made there before a name is given.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("microvm/names"))
    }

    /// Gives a name to an image in the store (`{state_dir}/images`), whatever it meant before. Seats that are there keep theirs.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn set(&self, image: &ImageRef, entry: &EntryName) -> io::Result<()> {
        let record = Record { schema: SCHEMA, image: image.canonical().to_owned(), entry: entry.to_string() };
        std::fs::create_dir_all(&self.0)?;
        // Two programs may give one name at once, and a record is written beside its place first.
        let folder = File::open(&self.0)?;
        folder.lock()?;
        let written = records::write(&self.path(image), &record);
        // A program that is being started meanwhile may hold it a little longer than this.
        folder.unlock()?;
        written
    }

    /// What a name means.
    pub(super) fn get(&self, image: &ImageRef) -> Option<EntryName> {
        // One that is not understood is as good as none: the image is looked for again.
        let record: Record = records::read(&self.path(image), SCHEMA).ok().flatten()?;
        (record.image == image.canonical()).then(|| record.entry.parse().ok()).flatten()
    }

    fn path(&self, image: &ImageRef) -> PathBuf {
        self.0.join(format!("{}.json", hash(image)))
    }
}

/// What a name's files are called.
pub(super) fn hash(image: &ImageRef) -> String {
    random::digits(&Sha256::digest(image.canonical().as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_may_be_given_by_many_at_once() {
        let state = tempfile::tempdir().unwrap();
        let image: ImageRef = "class/lesson:1".parse().unwrap();
        let entries: Vec<EntryName> = (0..8_u8)
            .map(|number| format!("{}-0123456789ab", format!("{number:x}").repeat(64)))
            .map(|name| name.parse().unwrap())
            .collect();
        std::thread::scope(|scope| {
            for entry in &entries {
                scope.spawn(|| {
                    for _ in 0..20 {
                        ImageNames::of(state.path()).set(&image, entry).unwrap();
                    }
                });
            }
        });
        let names = ImageNames::of(state.path());
        assert!(entries.contains(&names.get(&image).unwrap()));
        assert_eq!(std::fs::read_dir(&names.0).unwrap().count(), 1);
    }
}
