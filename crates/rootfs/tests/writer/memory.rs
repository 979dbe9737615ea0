//! How much memory a large tree takes.

use rootfs::build::{Options, build, tree};
use rootfs::ext4::Size;
use rootfs::writer::WriterKind;
use rootfs::{Digest, Limits, Quiet};

use crate::item::{file, folder, image, layer};
use crate::seen::e2fsck;

/// The peak of this process's memory, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "half a million files: takes a while; run it alone, with --nocapture"]
fn half_a_million_files() {
    let place = tempfile::tempdir().unwrap();
    let mut items = Vec::new();
    for number in 0..500 {
        items.push(folder(format!("node_modules-{number}")));
        items.extend(
            (0..999).map(|file_| file(format!("node_modules-{number}/a-name-of-a-file-{file_}"), b"")),
        );
    }
    let layer = layer(&items);
    drop(items);
    let image = image(place.path(), &layer);
    drop(layer);
    // From here on only what the conversion takes counts.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let path = place.path().join("rootfs.ext4");
    let limits = Limits { memory: 1 << 30, ..Limits::default() };
    let built = build(&image, &path, &Options { limits, ..Options::default() }, &Quiet).unwrap();
    let after = peak();
    e2fsck(&path);
    assert_eq!(built.sha256, Digest::of(&std::fs::read(&path).unwrap()));
    assert_eq!(built.inodes, 500_001);
    eprintln!("peak {before} KiB before, {after} KiB after; {:?}", built.stages);
    assert!(after - before < 1 << 20, "more than 1 GiB for half a million files");
}

#[test]
#[ignore = "looks at the memory of this process: run it alone, with --nocapture"]
fn a_tebibyte() {
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&[file("a", b"x")]));
    let tree = tree(&image, &Limits::default()).unwrap();
    for bytes in [1 << 40, (16 << 40) - 8192] {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak();
        drop(WriterKind::Mkext4.writer().plan(&tree, image.id, Size::Exactly(bytes)).unwrap());
        let after = peak();
        eprintln!("{bytes} bytes: peak {before} KiB before, {after} KiB after");
        assert!(after - before < bytes >> 20, "more than a thousandth of the size");
    }
}
