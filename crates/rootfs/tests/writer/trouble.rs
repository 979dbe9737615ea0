//! What goes wrong, and what is left then: nothing.

use std::io::Write as _;
use std::path::Path;

use rootfs::build::{BuildError, Options, build};
use rootfs::ext4::Size;
use rootfs::writer::WriterKind;
use rootfs::{Init, InitConfig, InitError, Progress, Quiet, Stage};
use rstest::rstest;
use vm_testbed::{Need, SmallDisk, can_run};

use crate::item::{Item, Kind, expected, file, folder, image, item, layer};
use crate::seen::{What, by_kernel, debugfs, e2fsck};

fn with_init(path: &Path) -> Options {
    Options { init: Some(Init::open(path).unwrap()), ..Options::default() }
}

#[rstest]
fn an_init_program_is_added_and_nothing_else(
    #[values(WriterKind::Mkext4, WriterKind::Mke2fs)] writer: WriterKind,
) {
    let place = tempfile::tempdir().unwrap();
    let items = [folder(""), folder("etc"), file("etc/x", b"1")];
    let image = image(place.path(), &layer(&items));
    let program = place.path().join("program");
    std::fs::write(&program, b"\x7fELF program").unwrap();
    let options = Options { writer, ..with_init(&program) };
    let path = place.path().join("rootfs.ext4");
    let built = build(&image, &path, &options, &Quiet).unwrap();
    e2fsck(&path);
    assert_eq!(debugfs(&path, "cat /.clarateach/init\n"), b"debugfs: cat /.clarateach/init\n\x7fELF program");
    let document = debugfs(&path, "cat /.clarateach/image.json\n");
    let start = document.iter().position(|&byte| byte == b'{').unwrap();
    let document: InitConfig = serde_json::from_slice(&document[start..]).unwrap();
    assert_eq!((document.schema, document.image), (1, image.id));
    assert_eq!(document.config, image.config.config);
    if let Some(mut seen) = by_kernel(&path, &[].into()) {
        let init = seen.remove(&b".clarateach/init"[..]).unwrap();
        assert_eq!((init.mode, init.owner, init.mtime), (0o100_755, (0, 0), (0, 0)));
        let json = seen.remove(&b".clarateach/image.json"[..]).unwrap();
        assert_eq!((json.mode, json.owner, json.mtime), (0o100_644, (0, 0), (0, 0)));
        let ours = seen.remove(&b".clarateach"[..]).unwrap();
        assert_eq!(
            (ours.mode, ours.owner, ours.mtime, ours.what),
            (0o040_755, (0, 0), (0, 0), What::Nothing)
        );
        assert_eq!(seen, expected(&items));
    }
    // The program is part of what the file is.
    std::fs::write(&program, b"\x7fELF another").unwrap();
    let other = place.path().join("other.ext4");
    let another = build(&image, &other, &Options { writer, ..with_init(&program) }, &Quiet).unwrap();
    assert_ne!(built.sha256, another.sha256);
    // One that changed since it was taken is not used.
    let again = place.path().join("again.ext4");
    let refused = build(&image, &again, &options, &Quiet).unwrap_err();
    assert!(matches!(refused, BuildError::Init(InitError::Wrong { .. })), "{refused}");
    assert!(!again.exists());
}

#[test]
fn an_image_with_the_path_of_the_init_program_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&[item(".clarateach", Kind::Link(b"/etc".to_vec()))]));
    let program = place.path().join("program");
    std::fs::write(&program, b"x").unwrap();
    let path = place.path().join("rootfs.ext4");
    let refused = build(&image, &path, &with_init(&program), &Quiet).unwrap_err();
    assert!(matches!(refused, BuildError::Init(InitError::Taken)), "{refused}");
    assert!(!path.exists());
}

#[test]
fn what_is_no_program_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x");
    assert!(matches!(Init::open(&path), Err(InitError::Read { .. })));
    assert!(matches!(Init::open(place.path()), Err(InitError::Wrong { .. })));
    assert!(matches!(Init::open(Path::new("/dev/zero")), Err(InitError::Wrong { .. })));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Init::open(&path), Err(InitError::Wrong { .. })));
    std::fs::File::create(&path).unwrap().set_len(rootfs::MAX_INIT + 1).unwrap();
    assert!(matches!(Init::open(&path), Err(InitError::Wrong { .. })));
}

#[test]
fn a_file_that_is_there_is_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&[]));
    let path = place.path().join("rootfs.ext4");
    std::fs::write(&path, b"somebody's").unwrap();
    assert!(build(&image, &path, &Options::default(), &Quiet).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
}

/// How many names there are on a disk.
fn names(disk: &SmallDisk) -> usize {
    std::fs::read_dir(disk.path()).unwrap().count()
}

/// Leaves so many KiB of a disk when the writing begins; there was room a moment before.
struct Leaves(std::path::PathBuf, u32);

impl Progress for Leaves {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        if stage == Stage::Write {
            let mut file = std::fs::File::create(self.0.join("somebody's")).unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
            let filled = file.metadata().unwrap().len();
            file.set_len(filled - u64::from(self.1) * 1024).unwrap();
        }
    }

    fn advance(&self, _: u64) {}
}

/// Content that has no zeros, and what of it is in whole blocks.
fn five_megabytes() -> Vec<Item> {
    vec![file("a", &[7; 2_000_000]), file("b", &[8; 3_000_000]), folder("c"), file("c/d", b"")]
}

#[rstest]
fn a_disk_that_fills_up_is_said_and_nothing_is_left(
    #[values(WriterKind::Mkext4, WriterKind::Mke2fs)] writer: WriterKind,
    #[values(0, 3000)] kilobytes: u32,
) {
    if !can_run(&[Need::Root]) {
        return;
    }
    let disk = SmallDisk::new(32 << 10).unwrap();
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&five_megabytes()));
    let path = disk.path().join("rootfs.ext4");
    let filling = Leaves(disk.path().to_owned(), kilobytes);
    let error = build(&image, &path, &Options { writer, ..Options::default() }, &filling).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    std::fs::remove_file(disk.path().join("somebody's")).unwrap();
    assert_eq!(names(&disk), 0);
}

#[rstest]
fn a_disk_without_room_is_said_before_anything_is_written(
    #[values(WriterKind::Mkext4, WriterKind::Mke2fs)] writer: WriterKind,
) {
    if !can_run(&[Need::Root]) {
        return;
    }
    let disk = SmallDisk::new(4000).unwrap();
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&five_megabytes()));
    let path = disk.path().join("rootfs.ext4");
    // It would have said that the writing begins.
    let filling = Leaves(disk.path().to_owned(), 0);
    let error = build(&image, &path, &Options { writer, ..Options::default() }, &filling).unwrap_err();
    let BuildError::NoRoom(room) = &error else { panic!("{error}") };
    assert_eq!((room.folder.as_path(), room.free), (disk.path(), 4000 << 10));
    assert!(room.needed > 5_000_000, "{room}");
    assert_eq!(names(&disk), 0);
}

#[test]
fn a_disk_with_exactly_enough_room_is_enough() {
    let place = tempfile::tempdir().unwrap();
    // A hole of a file needs nothing, and neither does the free space of the file system.
    let mut items = five_megabytes();
    items.push(item("sparse", Kind::Sparse(1 << 30, 1 << 29, vec![9; 5000])));
    let image = image(place.path(), &layer(&items));
    let tree = rootfs::build::tree(&image, &rootfs::Limits::default()).unwrap();
    let size = Size::Exactly(2 << 30);
    let plan = WriterKind::Mkext4.writer().plan(&tree, image.id, size).unwrap();
    let needed = plan.allocates().unwrap();
    let kilobytes = u32::try_from(needed / 1024).unwrap();
    let options = Options { size, ..Options::default() };
    for (kilobytes, is_enough) in [(kilobytes, true), (kilobytes - 4, false)] {
        if !can_run(&[Need::Root]) {
            return;
        }
        let disk = SmallDisk::new(kilobytes).unwrap();
        let built = build(&image, &disk.path().join("rootfs.ext4"), &options, &Quiet);
        assert_eq!(built.is_ok(), is_enough, "{built:?}");
        assert!(is_enough || matches!(built, Err(BuildError::NoRoom(_))));
    }
}

#[rstest]
#[case(1 << 30)]
#[case((1 << 30) + 5)]
#[case(3_000_000_001)]
#[case(64 << 30)]
fn any_size_costs_no_disk(#[case] bytes: u64) {
    use std::os::unix::fs::MetadataExt as _;
    let place = tempfile::tempdir().unwrap();
    let items: Vec<Item> = vec![file("a", b"x")];
    let image = image(place.path(), &layer(&items));
    let tree = rootfs::build::tree(&image, &rootfs::Limits::default()).unwrap();
    let writer = WriterKind::Mkext4.writer();
    let plan = writer.plan(&tree, image.id, Size::Exactly(bytes)).unwrap();
    let path = place.path().join("rootfs.ext4");
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let mut filling = plan.write(&path, file).unwrap();
    filling.fill(0, 0, &mut &b"x"[..]).unwrap();
    assert_eq!(filling.finish().unwrap(), 1);
    let made = std::fs::metadata(&path).unwrap();
    assert_eq!(made.len(), bytes.next_multiple_of(4096));
    assert!(made.blocks() * 512 < (4 << 20) + bytes / 2000, "{} blocks", made.blocks());
    e2fsck(&path);
}
