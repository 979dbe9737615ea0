//! What is in a file system, as programs see it that are not ours: the kernel by a mount, `debugfs`, and `e2fsck`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rootfs::Digest;

pub(crate) type Seen = BTreeMap<Vec<u8>, Stat>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// The first name of the same inode.
    pub(crate) first: Vec<u8>,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Nothing,
    /// Size and digest.
    Content(u64, Digest),
    /// Size, and offset, digest and length of a piece; too large to be read as a whole.
    Piece(u64, u64, Digest, usize),
    Target(Vec<u8>),
    Device(u32, u32),
}

pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

pub(crate) fn e2fsck(file: &Path) {
    let checked: Output = tool("e2fsck").arg("-fn").arg(file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// A mount that ends with this.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(file: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            tool("mount").args(["-o", "loop,ro,noload"]).arg(file).arg(folder.path()).output().unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            let root = rustix::process::geteuid().is_root();
            assert!(!root || !why.contains("wrong fs type"), "the kernel does not take it: {why}");
            eprintln!("SKIPPED: what the kernel sees, for it needs a loop mount: {why}");
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: for a moment, a process that another test starts holds what this one has open.
        assert!(tool("umount").arg("--lazy").arg(self.0.path()).status().unwrap().success());
    }
}

/// Everything that the kernel sees; nothing where this host mounts nothing. `sparse` are files that are too large to be
/// read, with the piece of them that has data.
pub(crate) fn by_kernel(file: &Path, sparse: &BTreeMap<Vec<u8>, (u64, usize)>) -> Option<Seen> {
    let mount = Mount::new(file)?;
    let mut seen = Seen::new();
    let mut firsts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut paths: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::from([(Vec::new(), mount.0.path().into())]);
    while let Some((path, place)) = paths.pop_first() {
        let meta = std::fs::symlink_metadata(&place).unwrap();
        let kind = meta.mode() & 0o170_000;
        let what = match kind {
            0o040_000 => {
                for entry in std::fs::read_dir(&place).unwrap() {
                    let name = entry.unwrap().file_name().into_vec();
                    if path.is_empty() && name == b"lost+found" {
                        continue;
                    }
                    let below =
                        if path.is_empty() { name.clone() } else { [&path[..], b"/", &name].concat() };
                    paths.insert(below, place.join(OsStr::from_bytes(&name)));
                }
                What::Nothing
            }
            0o120_000 => What::Target(std::fs::read_link(&place).unwrap().into_os_string().into_vec()),
            0o100_000 => match sparse.get(&path) {
                Some(&(offset, len)) => {
                    let mut bytes = vec![0; len];
                    std::fs::File::open(&place).unwrap().read_exact_at(&mut bytes, offset).unwrap();
                    What::Piece(meta.size(), offset, Digest::of(&bytes), len)
                }
                None => What::Content(meta.size(), Digest::of(&std::fs::read(&place).unwrap())),
            },
            0o010_000 => What::Nothing,
            _ => What::Device(rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())),
        };
        let first = firsts.entry(meta.ino()).or_insert_with(|| path.clone()).clone();
        let stat = Stat {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap()),
            xattrs: xattrs(&place),
            first,
            what,
        };
        seen.insert(path, stat);
    }
    Some(seen)
}

fn xattrs(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let len = rustix::fs::llistxattr(place, &mut names[..]).unwrap();
    let mut found = BTreeMap::new();
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).unwrap();
        let mut value = vec![0; 1 << 16];
        let len = rustix::fs::lgetxattr(place, name, &mut value[..]).unwrap();
        value.truncate(len);
        found.insert(name.to_owned(), value);
    }
    found
}

/// Answers of `debugfs` to commands.
pub(crate) fn debugfs(file: &Path, commands: &str) -> Vec<u8> {
    let mut child = tool("debugfs")
        .args(["-f", "-"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let commands = commands.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(commands.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Mode and owner of every path, as `debugfs` lists them.
pub(crate) fn by_debugfs(file: &Path) -> BTreeMap<Vec<u8>, (u32, (u32, u32))> {
    let mut seen = BTreeMap::new();
    let mut folders = vec![(Vec::new(), "2".to_owned())];
    while !folders.is_empty() {
        let commands: String = folders.iter().map(|(_, ino)| format!("ls -p <{ino}>\n")).collect();
        let output = debugfs(file, &commands);
        let mut next = Vec::new();
        let mut at = 0;
        // Every answer begins with its command; entries are `/inode/mode/uid/gid/name/size/`.
        for line in output.split(|&byte| byte == b'\n') {
            if line.starts_with(b"debugfs: ls -p") {
                at += 1;
                continue;
            }
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b'/').collect();
            let [_, ino, mode, uid, gid, name, ..] = fields[..] else { continue };
            let (folder, _) = &folders[at - 1];
            if name == b"." || name == b".." || (folder.is_empty() && name == b"lost+found") {
                continue;
            }
            if ino == b"0" {
                // The nodes of an index.
                continue;
            }
            let text = |field: &[u8]| std::str::from_utf8(field).unwrap().trim().to_owned();
            let path = if folder.is_empty() { name.to_vec() } else { [folder, &b"/"[..], name].concat() };
            let mode = u32::from_str_radix(&text(mode), 8).unwrap();
            if mode & 0o170_000 == 0o040_000 {
                next.push((path.clone(), text(ino)));
            }
            // Large numbers are printed as negative ones.
            let number = |field| text(field).parse::<i64>().unwrap() as u32;
            seen.insert(path, (mode, (number(uid), number(gid))));
        }
        folders = next;
    }
    seen
}
