//! The disks of bare guests: a seat's own, as far as they are shared, and others like its own.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use guest_protocol::Run;
use rootfs::{ImageFile, ext4};
use serde::de::DeserializeOwned;
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
    like(&host.seat(WORKSHOP, SEAT), &images(host), folder)
}

/// How the image in it is run.
pub(super) fn run(host: &Host) -> Result<Run> {
    image_of(&host.seat(WORKSHOP, SEAT), &images(host))
}

fn images(host: &Host) -> PathBuf {
    host.state().join("images")
}

/// Those of a seat in its folder.
fn like(seat: &Path, images: &Path, folder: &Path) -> Result<[Disk; 3]> {
    let fresh = |name: &'static str| -> Result<Disk> {
        let like = seat.join(format!("{name}.img"));
        let size = fs::metadata(&like).with_context(|| like.display().to_string())?.len();
        let path = folder.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        ext4::empty(file, size, random()?)?;
        Ok(Disk { name, file: path, may_write: true })
    };
    let root = Disk { name: "root", file: root(seat, images)?, may_write: false };
    Ok([root, fresh("scratch")?, fresh("data")?])
}

fn image_of(seat: &Path, images: &Path) -> Result<Run> {
    let image: ImageFile = read(&ImageFile::path_beside(&root(seat, images)?))?;
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
fn root(seat: &Path, images: &Path) -> Result<PathBuf> {
    let record: Value = read(&seat.join("seat.json"))?;
    let entry = record["rootfs"].as_str().with_context(|| format!("no image in {record}"))?;
    Ok(images.join(entry).join("rootfs.ext4"))
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

/// Random bytes of the kernel's (random(4)).
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_root_is_the_seats_own_and_the_rest_is_new() {
        let at = tempfile::tempdir().unwrap();
        let [seat, entry, folder] = ["seat", "images/sha256-1", "bare"].map(|name| at.path().join(name));
        for folder in [&seat, &entry, &folder] {
            fs::create_dir_all(folder).unwrap();
        }
        let images = at.path().join("images");
        assert!(like(&seat, &images, &folder).is_err(), "there is no seat");
        fs::write(seat.join("seat.json"), json!({ "rootfs": "sha256-1" }).to_string()).unwrap();
        for (name, mib) in [("scratch.img", 64), ("data.img", 96)] {
            let file = File::create(seat.join(name)).unwrap();
            file.set_len(mib << 20).unwrap();
        }
        let disks = like(&seat, &images, &folder).unwrap();
        let about = disks.each_ref().map(|disk| (disk.name, disk.may_write));
        assert_eq!(about, [("root", false), ("scratch", true), ("data", true)]);
        assert_eq!(disks[0].file, entry.join("rootfs.ext4"));
        let size = |disk: &Disk| fs::metadata(&disk.file).unwrap().len() >> 20;
        assert_eq!((size(&disks[1]), size(&disks[2])), (64, 96));
        assert!(disks[1..].iter().all(|disk| disk.file.starts_with(&folder)), "{disks:?}");
        assert!(like(&seat, &images, &folder).is_err(), "disks of another command are not used again");

        let digest = format!("sha256:{}", "0".repeat(64));
        let image = json!({
            "schema": 1, "image": digest, "architecture": "amd64", "os": "linux", "converter": "1", "init": null,
            "writer": "mkext4", "size": 4096, "sha256": digest, "names": [],
            "config": { "user": "1000:1000", "entrypoint": ["/bin/testbed"], "cmd": ["serve"] },
        });
        fs::write(entry.join("image.json"), image.to_string()).unwrap();
        let run = image_of(&seat, &images).unwrap();
        assert_eq!(
            (run.user.as_str(), run.entrypoint, run.cmd),
            ("1000:1000", vec!["/bin/testbed".into()], vec!["serve".into()])
        );
    }
}
