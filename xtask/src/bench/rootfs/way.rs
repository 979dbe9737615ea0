//! The ways from an image to a file, and the floors below them.

use std::fmt;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use serde::Serialize;

use super::child::shell;
use super::image::Prepared;
use super::sweep::LABEL;
use crate::service::isolated;

/// The file that a turn makes, in its folder.
pub(super) const FILE: &str = "out.ext4";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    /// Export and untar into a mounted mkfs.ext4, as was planned at first.
    Plan,
    /// Export and untar into a folder, then mke2fs -d.
    UnpackMke2fs,
    /// mke2fs -d of a folder that is there.
    Mke2fs,
    /// Ours from the engine.
    Engine,
    /// Ours from an archive of docker save.
    Archive,
    /// Ours from an OCI layout with gzip layers.
    Layout,
    /// A copy of our finished file.
    Copy,
    /// docker export to nowhere.
    Export,
    /// docker save to nowhere.
    Save,
}

/// `mkfs.ext4` as it is: it makes a journal, and leaves most inode tables to the first mount.
const PLAN: &str = r#"
truncate --size "$SIZE" out.ext4
mkfs.ext4 -q -F out.ext4
mkdir mounted
mount -o loop out.ext4 mounted
container=$(docker create --label "$LABEL" "$IMAGE" true)
docker export "$container" | tar --extract --numeric-owner --directory mounted
umount mounted
docker rm --volumes "$container" >&2
sync out.ext4
"#;

const UNPACK_MKE2FS: &str = r#"
mkdir unpacked
container=$(docker create --label "$LABEL" "$IMAGE" true)
docker export "$container" | tar --extract --numeric-owner --directory unpacked
docker rm --volumes "$container" >&2
mke2fs -q -F -t ext4 -d unpacked out.ext4 "$((SIZE / 1024))k"
sync out.ext4
"#;

const MKE2FS: &str = r#"
mke2fs -q -F -t ext4 -d ../tree out.ext4 "$((SIZE / 1024))k"
sync out.ext4
"#;

const COPY: &str = r"
cp --sparse=always --reflink=never ../ours.ext4 out.ext4
sync out.ext4
";

const EXPORT: &str = r#"
container=$(docker create --label "$LABEL" "$IMAGE" true)
docker export "$container" >/dev/null
docker rm --volumes "$container" >&2
"#;

const SAVE: &str = r#"docker save "$IMAGE" >/dev/null"#;

impl Way {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 9] = [
        Self::Plan,
        Self::UnpackMke2fs,
        Self::Mke2fs,
        Self::Engine,
        Self::Archive,
        Self::Layout,
        Self::Copy,
        Self::Export,
        Self::Save,
    ];

    /// Its word on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is the converter.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Engine | Self::Archive | Self::Layout)
    }

    /// Whether it makes a file.
    pub(super) fn makes_a_file(self) -> bool {
        !matches!(self, Self::Export | Self::Save)
    }

    /// Whether it mounts, or unpacks what belongs to others.
    pub(super) fn needs_root(self) -> bool {
        matches!(self, Self::Plan | Self::UnpackMke2fs | Self::Mke2fs)
    }

    /// What it runs, in the folder of the turn; `binary` is ours.
    pub(super) fn command(self, prepared: &Prepared, binary: &Path, folder: &Path) -> Command {
        let script = match self {
            Self::Plan => PLAN,
            Self::UnpackMke2fs => UNPACK_MKE2FS,
            Self::Mke2fs => MKE2FS,
            Self::Copy => COPY,
            Self::Export => EXPORT,
            Self::Save => SAVE,
            Self::Engine => return ours(binary, &prepared.image, folder),
            Self::Archive => return ours(binary, "../image.tar", folder),
            Self::Layout => return ours(binary, "../layout", folder),
        };
        // The mount goes with the last process of this namespace, however that ends.
        let mut command = if self == Self::Plan { Command::new("unshare") } else { Command::new("bash") };
        if self == Self::Plan {
            command.args(["--mount", "bash"]);
        }
        shell(&mut command, script);
        command.env("IMAGE", &prepared.image).env("SIZE", prepared.size.to_string()).env("LABEL", LABEL);
        command.current_dir(folder);
        command
    }
}

/// The converter's command line.
pub(super) fn ours(binary: &Path, source: &str, folder: &Path) -> Command {
    let mut command = isolated(binary).into_std();
    command.args(["--output", "json", "rootfs", "build", source, "-o", FILE]).current_dir(folder);
    command
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Plan => "export, untar into a mount",
            Self::UnpackMke2fs => "export, untar, mke2fs -d",
            Self::Mke2fs => "mke2fs -d alone",
            Self::Engine => "ours, all of it",
            Self::Archive => "ours, saved before",
            Self::Layout => "ours, gzip layers",
            Self::Copy => "cp of our file",
            Self::Export => "docker export to nowhere",
            Self::Save => "docker save to nowhere",
        };
        write!(f, "{}: {what}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_knows_every_way() {
        assert_eq!(Way::value_variants(), Way::ALL);
    }
}
