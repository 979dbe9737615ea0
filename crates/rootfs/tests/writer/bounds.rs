//! What ext4 has no room for, and what it has just room for.

use rootfs::build::{Options, build};
use rootfs::ext4::Size;
use rootfs::writer::WriterKind;
use rootfs::{Limits, Quiet};

use crate::item::{Item, Kind, file, folder, image, item, layer};
use crate::seen::{debugfs, e2fsck};

fn refused(items: &[Item], options: &Options) -> String {
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(items));
    let path = place.path().join("rootfs.ext4");
    let error = build(&image, &path, options, &Quiet).unwrap_err();
    assert!(!path.exists());
    error.to_string()
}

#[test]
fn a_folder_may_have_more_than_65000_folders() {
    let place = tempfile::tempdir().unwrap();
    let mut items = vec![folder("d")];
    items.extend((0..66_000).map(|number| folder(format!("d/{number}"))));
    let image = image(place.path(), &layer(&items));
    let path = place.path().join("rootfs.ext4");
    let limits = Limits { memory: 1 << 30, ..Limits::default() };
    build(&image, &path, &Options { limits, ..Options::default() }, &Quiet).unwrap();
    e2fsck(&path);
    let listed = debugfs(&path, "ls -p /d\n");
    assert_eq!(listed.split(|&byte| byte == b'\n').filter(|line| line.ends_with(b"//")).count(), 66_002);
}

#[test]
fn more_than_65000_names_of_a_file_are_refused() {
    let mut items = vec![file("f", b"x")];
    items.extend((1..65_000).map(|number| item(format!("{number}"), Kind::HardLink(b"f".to_vec()))));
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rootfs.ext4");
    build(&image(place.path(), &layer(&items)), &path, &Options::default(), &Quiet).unwrap();
    e2fsck(&path);
    items.push(item("one more", Kind::HardLink(b"f".to_vec())));
    let error = refused(&items, &Options::default());
    assert!(error.starts_with("/one more: "), "{error}");
}

#[test]
fn a_device_whose_number_linux_does_not_have_is_refused() {
    let error = refused(&[item("dev", Kind::Char(4096, 0))], &Options::default());
    assert!(error.starts_with("/dev: "), "{error}");
}

#[test]
fn a_size_beyond_what_ext4_can_number_is_refused() {
    for writer in [WriterKind::Mkext4, WriterKind::Mke2fs] {
        for bytes in [(16 << 40) - 4096, 16 << 40, u64::MAX] {
            let options = Options { size: Size::Exactly(bytes), writer, ..Options::default() };
            let error = refused(&[], &options);
            assert!(error.contains("16 TiB"), "{error}");
        }
    }
}
