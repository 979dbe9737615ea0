//! Real images, from an engine's own archive to a file system: the same tree as the engine's own export, the same bytes
//! every time, and nothing that `e2fsck` minds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mkext4::reader::Fs;
use rootfs::build::{Options, build, tree};
use rootfs::ext4::Size;
use rootfs::layer::{Budget, contents, scan};
use rootfs::source::{Choice, Image};
use rootfs::{Digest, EntryKind, Limits, Meta, NodeKind, Quiet};
use support::{docker, saved};

fn sized(bytes: u64) -> Options {
    Options { size: Size::Exactly(bytes), ..Options::default() }
}

/// What the engine itself makes of the image: one archive without layers.
fn exported(image: &str, folder: &Path) -> PathBuf {
    let file = folder.join("export.tar");
    let container = docker(&["create", image, "true"]);
    docker(&["export", "--output", file.to_str().unwrap(), &container]);
    docker(&["rm", "--volumes", &container]);
    file
}

/// A path's kind in one word, with what makes it up; content by its digest.
type Seen = BTreeMap<Vec<u8>, (Meta, String)>;

/// What the engine adds to a container that is not in its image.
fn is_the_engines(path: &[u8]) -> bool {
    [
        &b".dockerenv"[..],
        b"etc/hosts",
        b"etc/hostname",
        b"etc/resolv.conf",
        b"etc/mtab",
        b"dev",
        b"dev/console",
    ]
    .contains(&path)
        || path.starts_with(b"dev/")
        || matches!(path, b"" | b"etc" | b"proc" | b"sys")
}

fn of_export(file: &Path) -> Seen {
    let open = || File::open(file).unwrap();
    let layer = scan(0, open(), &mut Budget::new(Limits::default())).unwrap();
    let mut digests = BTreeMap::new();
    contents(0, open(), &Limits::default(), |number, reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        digests.insert(number, Digest::of(&bytes));
        Ok(())
    })
    .unwrap();
    let mut seen: Seen = BTreeMap::new();
    for entry in &layer.entries {
        let what = match &entry.kind {
            EntryKind::Directory => "folder".to_owned(),
            EntryKind::File(content) => format!("file {}", digests[&content.entry]),
            EntryKind::Symlink(target) => format!("link to {}", String::from_utf8_lossy(target)),
            EntryKind::HardLink(target) => {
                let (meta, what) = seen[target.as_bytes()].clone();
                seen.insert(entry.path.as_bytes().to_vec(), (meta, what));
                continue;
            }
            other => format!("{other:?}"),
        };
        seen.insert(entry.path.as_bytes().to_vec(), (entry.meta.clone(), what));
    }
    seen.retain(|path, _| !is_the_engines(path));
    seen
}

/// The tree as merged, with the content as the file system has it.
fn of_file_system(image: &Image, file: &Path) -> Seen {
    let fs = Fs::open(File::open(file).unwrap()).unwrap();
    let tree = tree(image, &Limits::default()).unwrap();
    let mut seen: Seen = BTreeMap::new();
    tree.walk(|path, _, node| {
        let inode = || fs.resolve(&format!("/{}", std::str::from_utf8(path).unwrap())).unwrap();
        let what = match &node.kind {
            NodeKind::Directory(_) => "folder".to_owned(),
            NodeKind::File(content) => {
                let bytes = fs.read_file(inode()).unwrap();
                assert_eq!(bytes.len() as u64, content.size);
                format!("file {}", Digest::of(&bytes))
            }
            NodeKind::Symlink(_) => {
                let target = fs.symlink_target(inode()).unwrap();
                format!("link to {}", String::from_utf8_lossy(&target))
            }
            other => format!("{other:?}"),
        };
        let stored = fs.inode(inode()).unwrap();
        assert_eq!(stored.mode & 0o7777, node.meta.mode, "{}", String::from_utf8_lossy(path));
        assert_eq!((stored.uid, stored.gid), (node.meta.uid, node.meta.gid));
        seen.insert(path.to_vec(), (node.meta.clone(), what));
    });
    seen.retain(|path, _| !is_the_engines(path));
    seen
}

fn e2fsck(file: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let checked = Command::new("e2fsck")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .arg("-fn")
        .arg(file)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn sha256(file: &Path) -> Digest {
    Digest::of(&std::fs::read(file).unwrap())
}

fn converts(name: &str) {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let image = Image::open(&saved(name, folder.path()), &Choice::default()).unwrap();
    let (one, other) = (folder.path().join("one.ext4"), folder.path().join("other.ext4"));
    let built = build(&image, &one, &Options::default(), &Quiet).unwrap();
    build(&image, &other, &Options::default(), &Quiet).unwrap();
    e2fsck(&one);
    assert_eq!(sha256(&one), sha256(&other));
    let file = std::fs::metadata(&one).unwrap();
    assert_eq!(file.len(), built.size);
    // The free space is a hole.
    assert!(file.blocks() * 512 < built.content + (24 << 20), "{} blocks for {built:?}", file.blocks());
    let (ours, engines) = (of_file_system(&image, &one), of_export(&exported(name, folder.path())));
    for (path, expected) in &engines {
        let found = ours.get(path);
        // The engine's export has whole seconds only.
        let same = found.is_some_and(|(meta, what)| {
            let mut meta = meta.clone();
            meta.mtime.nanos = expected.0.mtime.nanos;
            (&meta, what) == (&expected.0, &expected.1)
        });
        assert!(same, "{}: {found:?} is not {expected:?}", String::from_utf8_lossy(path));
    }
    assert_eq!(ours.len(), engines.len());
    // Too small says how large it must be, and that is then enough.
    let small = build(&image, &folder.path().join("small"), &sized(16 << 20), &Quiet);
    if built.content > 12 << 20 {
        let rootfs::build::BuildError::Plan(rootfs::ext4::PlanError::TooSmall(too_small)) =
            small.unwrap_err()
        else {
            panic!("another error")
        };
        let enough = folder.path().join("enough");
        build(&image, &enough, &sized(too_small.least), &Quiet).unwrap();
        e2fsck(&enough);
    }
}

#[test]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
fn a_small_image() {
    converts("clarateach-testbed:latest");
}

#[test]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
fn the_reference_workspace() {
    converts("clarateach-workspace:latest");
}

#[test]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
fn an_image_of_many_layers_with_deletions() {
    let steps = (0..18).map(|number| match number % 6 {
        0 => format!("RUN mkdir -p d{number}/e && echo {number} > d{number}/e/f && chmod 1777 d{number}"),
        1 => format!(
            "RUN rm -rf d{}/e && mkdir d{}/e && echo new > d{}/e/g",
            number - 1,
            number - 1,
            number - 1
        ),
        2 => format!("RUN ln -s ../d{} link{number} && ln d{}/e/g twin{number}", number - 2, number - 2),
        3 => format!("RUN rm twin{} && echo {number} > link{number} && mkfifo pipe{number}", number - 1),
        4 => format!("RUN mv link{} d{}/moved", number - 1, number - 4),
        _ => format!("RUN chmod 4755 d{}/moved && chown 1000:100000 d{}/moved", number - 5, number - 5),
    });
    let tag = format!("rootfs-layers-{}", std::process::id());
    let text = format!(
        "FROM clarateach-testbed\nUSER root\nWORKDIR /work\n{}\n",
        steps.collect::<Vec<_>>().join("\n")
    );
    let mut child = Command::new("docker")
        .args(["build", "--quiet", "--force-rm", "--no-cache", "--tag", &tag, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let outcome = std::panic::catch_unwind(|| converts(&tag));
    docker(&["rmi", "--force", &tag]);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
