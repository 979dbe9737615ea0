//! What a jail is to be: its paths and the jailer's arguments. Nothing here touches the host.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::vmm::keeper::OPEN_FILES;
use crate::vmm::{SpecError, UserIds};

/// What the jailer and the monitor call their own in the jail; beside the program and its `.pid`.
const TAKEN: [&str; 4] = ["dev", "run", "old_root", "sys"];

/// The jail of one VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::vmm) struct JailSpec {
    /// The folder that holds the jail and nothing else; it is made, but not the one it is in.
    pub(in crate::vmm) base: PathBuf,
    /// What the jailer and the monitor call this VM.
    pub(in crate::vmm) id: JailId,
    /// The program to run in it; the jailer puts a copy there. As [`super::check`] found it: absolute, and no link.
    pub(in crate::vmm) firecracker: PathBuf,
    /// Who the monitor runs as; not root.
    pub(in crate::vmm) user: UserIds,
    /// How large a file may become that the monitor writes, in bytes: the largest disk, and the guest's memory when it is written down.
    pub(in crate::vmm) largest_file: u64,
    /// What the monitor sees beside its own program.
    pub(in crate::vmm) files: Vec<JailFile>,
}

/// A file of the host in a jail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::vmm) struct JailFile {
    /// Where it is on the host.
    pub(in crate::vmm) source: PathBuf,
    /// How it is called in the jail's `/`.
    pub(in crate::vmm) name: FileName,
    /// What the monitor may do.
    pub(in crate::vmm) access: Access,
}

/// What a monitor may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vmm) enum Access {
    /// Read, like other VMs. The owner stays. A file that only its owner may read becomes one that everybody may who gets there: it holds nothing of a
    /// seat, and who gets there is up to the folder it is in.
    Shared,
    /// Read and write, alone: the file is given to the monitor's user.
    Own,
}

/// What a jailer calls a VM: 1 to 64 ASCII letters, digits or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vmm) struct JailId(String);

/// The name of a file in a jail's `/`: 1 to 64 ASCII letters, digits, `-`, `_` or `.`, the first of them no `.`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vmm) struct FileName(String);

impl JailId {
    /// Parses one; nothing when it cannot be one.
    pub(in crate::vmm) fn new(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(good)).then(|| Self(text.to_owned()))
    }
}

impl FileName {
    /// Parses one; nothing when it cannot be one.
    pub(in crate::vmm) fn new(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_one = (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(good);
        is_one.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub(in crate::vmm) fn as_str(&self) -> &str {
        &self.0
    }
}

impl JailSpec {
    /// The folder that is the monitor's `/`.
    pub(in crate::vmm) fn root(&self) -> PathBuf {
        self.folders().pop().unwrap_or_default()
    }

    /// The same, seen from the folder that the base is in.
    pub(in crate::vmm) fn place(&self) -> PathBuf {
        let root = self.root();
        let above = self.base.parent().unwrap_or(Path::new("/"));
        root.strip_prefix(above).map(Path::to_owned).unwrap_or(root)
    }

    /// The folders from the base to the root, in the order in which they are made.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let program = self.base.join(self.firecracker.file_name().unwrap_or_default());
        let vm = program.join(&self.id.0);
        let root = vm.join("root");
        vec![self.base.clone(), program, vm, root]
    }

    /// The arguments of the jailer; `monitor` has those of Firecracker, in which paths are those in the jail. It is to be started in the cgroup, the network
    /// and the process namespace that are the VM's.
    ///
    /// # Errors
    /// When a path is not text, for the jailer takes no other; and as told by the fields.
    pub(in crate::vmm) fn arguments(&self, monitor: &[&str]) -> Result<Vec<String>, SpecError> {
        self.check()?;
        let mut arguments = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        add(&["--id", &self.id.0]);
        add(&["--exec-file", text(&self.firecracker)?]);
        add(&["--uid", &self.user.uid.to_string(), "--gid", &self.user.gid.to_string()]);
        add(&["--chroot-base-dir", text(&self.base)?]);
        add(&["--resource-limit", &format!("no-file={OPEN_FILES}")]);
        add(&["--resource-limit", &format!("fsize={}", self.largest_file)]);
        if !monitor.is_empty() {
            add(&["--"]);
            add(monitor);
        }
        Ok(arguments)
    }

    /// Checks the bounds that the fields name.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let bound = |holds: bool, why: &str| {
            if holds { Ok(()) } else { Err(SpecError::Bound(why.to_owned())) }
        };
        bound(
            self.user.uid != 0 && self.user.gid != 0,
            "a jailed monitor is not root: give it a user and a group of its own",
        )?;
        bound(self.base.is_absolute(), "the path of the jail is not absolute")?;
        let program = text(&self.firecracker)?.rsplit('/').next().unwrap_or_default();
        bound(
            self.firecracker.is_absolute() && !program.is_empty(),
            "the path of Firecracker is not absolute",
        )?;
        let mut names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        names.extend(TAKEN);
        let pid = format!("{program}.pid");
        names.extend([program, &pid]);
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        bound(names.len() == all, "two files of a jail have the same name, or one has that of the jailer's")
    }
}

fn text(path: &Path) -> Result<&str, SpecError> {
    let wrong =
        || SpecError::Bound(format!("the jailer takes no path that is not UTF-8: {}", path.display()));
    path.to_str().ok_or_else(wrong)
}
