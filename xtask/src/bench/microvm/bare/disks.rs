//! The disks of bare guests: a seat's own, as far as they are shared, and others like its own.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use guest_protocol::Run;
use rootfs::{ImageFile, ext4};
use serde_json::Value;

use crate::bench::microvm::host::Host;
use crate::bench::microvm::seat::WORKSHOP;

/// The seat that stays, which is asked for before any bare command.
const SEAT: u16 = 1;

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// By this the agent knows it.
    pub(super) name: &'static str,
    pub(super) file: PathBuf,
    pub(super) may_write: bool,
}

/// The disks of a guest: the root is the file that seats have, the others are made in `folder`, empty and as large as a seat's.
pub(super) fn make(host: &Host, folder: &Path) -> Result<[Disk; 3]> {
    let seat = host.seat(WORKSHOP, SEAT);
    let fresh = |name: &'static str| -> Result<Disk> {
        let like = seat.join(format!("{name}.img"));
        let size = fs::metadata(&like).with_context(|| like.display().to_string())?.len();
        let path = folder.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        ext4::empty(file, size, random()?)?;
        Ok(Disk { name, file: path, may_write: true })
    };
    let root = Disk { name: "root", file: root(host, &seat)?, may_write: false };
    Ok([root, fresh("scratch")?, fresh("data")?])
}

/// How the image in it is run.
pub(super) fn run(host: &Host) -> Result<Run> {
    let file = ImageFile::path_beside(&root(host, &host.seat(WORKSHOP, SEAT))?);
    let image: ImageFile =
        serde_json::from_slice(&fs::read(&file).with_context(|| file.display().to_string())?)?;
    let image = image.config;
    Ok(Run {
        entrypoint: image.entrypoint,
        cmd: image.cmd,
        env: image.env,
        user: image.user,
        working_dir: image.working_dir,
        stop_signal: image.stop_signal,
    })
}

/// The converted image of a seat, by its record.
fn root(host: &Host, seat: &Path) -> Result<PathBuf> {
    let file = seat.join("seat.json");
    let record: Value =
        serde_json::from_slice(&fs::read(&file).with_context(|| file.display().to_string())?)?;
    let entry = record["rootfs"].as_str().with_context(|| format!("no image in {record}"))?;
    Ok(host.state().join("images").join(entry).join("rootfs.ext4"))
}

/// Random bytes of the kernel's (random(4)).
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
