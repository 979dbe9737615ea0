//! An image made ready for all ways, before any of them is measured.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::child::{self, shell};
use super::rounds::Ground;
use super::sweep::{self, LABEL};
use super::way::{FILE, Way, ours};
use super::weigh::mib;
use super::{child::Ended, layout};
use crate::console;

/// Room beside the content in the file systems that others make; they say nothing when they are too small but fail.
const ROOM: u64 = 64 << 20;
/// Bytes per inode that `mke2fs.conf` usually says.
const PER_INODE: u64 = 16 << 10;

/// What lies in the bench's folder: `image.tar`, `tree/`, `layout/` and `ours.ext4`, as far as the ways need them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Prepared {
    pub(super) image: String,
    /// What the unpacked tree takes of the disk.
    pub(super) tree_mib: f64,
    /// Names in it.
    pub(super) files: u64,
    /// What `docker save` writes.
    pub(super) archive_mib: f64,
    /// Bytes of the file systems that others than the converter make: a quarter more than the tree needs, and enough
    /// for as many inodes as it has.
    pub(super) size: u64,
}

const SAVE: &str = r#"docker save --output image.tar "$IMAGE""#;

const UNPACK: &str = r#"
mkdir tree
container=$(docker create --label "$LABEL" "$IMAGE" true)
docker export "$container" | tar --extract --numeric-owner --directory tree
docker rm --volumes "$container" >&2
"#;

const COUNT: &str = r"
du --summarize --block-size=1 tree | cut --fields=1
du --summarize --inodes tree | cut --fields=1
";

impl Prepared {
    /// Fills the folder, which is empty.
    pub(super) async fn make(ground: &Ground<'_>, image: &str, ways: &[Way]) -> Result<Self> {
        let has = |wanted: fn(Way) -> bool| ways.iter().any(|way| wanted(*way));
        let archive = has(|way| matches!(way, Way::Archive | Way::Layout | Way::Copy));
        console::dim("     unpacking and saving what the ways begin with");
        ground.script(SAVE, image).await?;
        ground.script(UNPACK, image).await?;
        let counted = ground.script(COUNT, image).await?.output;
        let mut counts = counted.lines().map(str::parse::<u64>);
        let mut next = || counts.next().context("du counts nothing").and_then(|count| Ok(count?));
        let (bytes, files) = (next()?, next()?);
        let saved = ground.folder.join("image.tar");
        let prepared = Self {
            image: image.to_owned(),
            tree_mib: mib(bytes),
            files,
            archive_mib: mib(fs::metadata(&saved)?.len()),
            size: size(bytes, files),
        };
        if has(|way| way == Way::Layout) {
            layout::make(ground).await?;
        }
        if has(|way| way == Way::Copy) {
            let folder = ground.folder.join("turn");
            fs::create_dir(&folder)?;
            let command = ours(ground.binary, "../image.tar", &folder);
            child::run(command, ground.folder, ground.stop).await.context("the file to be copied")?;
            fs::rename(folder.join(FILE), ground.folder.join("ours.ext4"))?;
            sweep::remove(&folder)?;
        }
        if !archive {
            fs::remove_file(saved)?;
        }
        if !has(|way| way == Way::Mke2fs) {
            sweep::remove(&ground.folder.join("tree"))?;
        }
        Ok(prepared)
    }

    /// Removes it again, to make room for the next.
    pub(super) fn remove(ground: &Ground<'_>) -> Result<()> {
        sweep::remove(ground.folder)?;
        super::run::make_folder(ground.folder)
    }
}

impl Ground<'_> {
    /// Runs a script in the bench's folder.
    pub(super) async fn script(&self, script: &str, image: &str) -> Result<Ended> {
        let mut command = Command::new("bash");
        shell(&mut command, script);
        command.env("IMAGE", image).env("LABEL", LABEL).current_dir(self.folder);
        child::run(command, self.folder, self.stop).await
    }
}

/// In whole MiB.
fn size(bytes: u64, files: u64) -> u64 {
    let needed = bytes.max(files.saturating_mul(PER_INODE));
    needed.saturating_add(needed / 4).saturating_add(ROOM).next_multiple_of(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_need_inodes() {
        assert_eq!(size(400 << 20, 1000), 564 << 20);
        assert_eq!(size(4 << 20, 40 << 10), (800 + 64) << 20);
    }
}
