//! What is proven of each image of the corpus, and by what.
//!
//! ```text
//!   compares   the engine's own export, read by Python ⟷ the merged tree, with the content that is in the file;
//!              debugfs ⟷ the same; e2fsck; a second build has the same bytes
//!   mounts     the kernel's view of the file, read-only ⟷ the same, with attributes and nanoseconds
//!   boots      the image's own shell says an unguessable word under a real kernel
//! ```

mod boot;
mod convert;
mod debugfs;
mod listing;

pub(crate) use self::boot::boots;

use std::collections::BTreeMap;
use std::process::Command;

use self::convert::Converted;
use self::listing::{Row, shown};

/// What the engine makes in every container, image or not (moby, daemon/initlayer): its own marker, what it mounts over, and a link.
const ENGINES_OWN: [&str; 11] = [
    ".dockerenv",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "proc",
    "sys",
    "lost+found",
];
/// The folders in which it does so: they get a new time, and are there in any case.
const ENGINES_FOLDERS: [&str; 3] = ["", "dev", "etc"];

/// The file system of an image has what the engine's own export of it has.
pub(crate) fn compares(name: &str) {
    let image = Converted::new(name);
    image.check();
    image.build_again();
    let ours = image.rows();
    let export = listing::of_tar(&image.exported());
    assert!(!export.is_empty());
    for (path, theirs) in &export {
        if !is_the_engines(path) {
            let expected = ours.get(path).unwrap_or_else(|| panic!("/{} is missing", shown(path)));
            assert_eq!(&expected.as_exported(), theirs, "/{}", shown(path));
        }
    }
    for path in ours.keys() {
        assert!(is_the_engines(path) || export.contains_key(path), "/{} is too much", shown(path));
    }
    for folder in ENGINES_FOLDERS {
        let (ours, theirs) = (ours.get(folder.as_bytes()), export.get(folder.as_bytes()));
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            assert_eq!((ours.mode, ours.uid, ours.gid), (theirs.mode, theirs.uid, theirs.gid), "/{folder}");
        }
    }
    debugfs::agrees(&image.file(), &ours);
}

/// The kernel sees the same file system.
pub(crate) fn mounts(name: &str) {
    if let Err(why) = convert::can_mount() {
        return skip(name, "mounts", &why);
    }
    let image = Converted::new(name);
    let mut ours = image.rows();
    let mut theirs = image.mounted();
    // The file system's own, unless the image has one.
    if !ours.contains_key(&b"lost+found"[..]) {
        theirs.remove(&b"lost+found"[..]);
    }
    ours.retain(|path, row| {
        let there = theirs.remove(path);
        assert_eq!(Some(&*row), there.as_ref(), "/{}", shown(path));
        false
    });
    assert!(theirs.is_empty(), "too much: {:?}", theirs.keys().map(|path| shown(path)).collect::<Vec<_>>());
}

fn is_the_engines(path: &[u8]) -> bool {
    let path = String::from_utf8_lossy(path);
    ENGINES_OWN.contains(&&*path)
        || ENGINES_FOLDERS.contains(&&*path)
        || ENGINES_OWN.iter().any(|own| path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')))
}

/// Says that something could not be looked at. Only the runner of the tiers can count that; without it, it is a failure.
fn skip(name: &str, check: &str, why: &str) {
    use std::io::Write as _;
    let Some(report) = std::env::var_os("CONFORMANCE_REPORT") else {
        panic!("cannot run here: {why}");
    };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(report).unwrap();
    writeln!(file, "skipped\tcorpus\t{name} {check}\t{}", why.replace(['\n', '\t'], " ")).unwrap();
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A command that finds what only root has in its path.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

type Rows = BTreeMap<Vec<u8>, Row>;
