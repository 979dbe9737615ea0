//! The table of cases.

use std::collections::BTreeMap;
use std::path::Path;

use rootfs::build::{Built, Options, build};
use rootfs::writer::WriterKind;
use rootfs::{Digest, Quiet};
use rstest::rstest;

use crate::item::{Item, Kind, READ, expected, file, folder, image, item, layer};
use crate::seen::{by_debugfs, by_kernel, e2fsck};

/// Builds items, and looks at what came of it in every way that there is.
pub(crate) fn check(items: &[Item], writer: WriterKind) -> Built {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rootfs.ext4");
    let image = image(place.path(), &layer(items));
    let options = Options { writer, ..Options::default() };
    let built = build(&image, &path, &options, &Quiet).unwrap();
    same(items, &path);
    let again = place.path().join("again.ext4");
    assert_eq!(build(&image, &again, &options, &Quiet).unwrap().sha256, built.sha256);
    built
}

pub(crate) fn same(items: &[Item], path: &Path) {
    e2fsck(path);
    let mut expected = expected(items);
    let listed: BTreeMap<_, _> = expected
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, stat)| (path.clone(), (stat.mode, stat.owner)))
        .collect();
    alike(&by_debugfs(path), &listed);
    let sparse = items.iter().filter_map(|item| match &item.kind {
        Kind::Sparse(READ.., offset, data) => Some((item.path.clone(), (*offset, data.len()))),
        _ => None,
    });
    let Some(mut seen) = by_kernel(path, &sparse.collect()) else { return };
    if !expected.contains_key(&b""[..]) {
        // An image that says nothing of its root.
        expected.remove(&b""[..]);
        seen.remove(&b""[..]);
    }
    alike(&seen, &expected);
}

/// The same entries; where not, some of those that differ.
fn alike<T: PartialEq + std::fmt::Debug>(seen: &BTreeMap<Vec<u8>, T>, expected: &BTreeMap<Vec<u8>, T>) {
    let mut differences: Vec<String> = Vec::new();
    for path in seen.keys().chain(expected.keys()) {
        let (seen, expected) = (seen.get(path), expected.get(path));
        if seen != expected && differences.len() < 6 {
            differences.push(format!("{}: {seen:?} is not {expected:?}", path.escape_ascii()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn kinds() -> Vec<Item> {
    vec![
        Item { mode: 0o1777, owner: (7, 8), ..folder("tmp") },
        Item { mode: 0o4755, owner: (70_000, 4_000_000_000), ..file("tmp/setuid", b"x") },
        Item { mode: 0o2755, ..file("tmp/setgid", &[7; 100_000]) },
        file("empty", b""),
        item("link", Kind::Link(b"tmp/setuid".to_vec())),
        item("long", Kind::Link(vec![b'a'; 3000])),
        item("edge", Kind::Link(vec![b'b'; 60])),
        item("null", Kind::Char(1, 3)),
        item("large", Kind::Char(4095, 1_048_575)),
        item("disk", Kind::Block(259, 70_000)),
        item("pipe", Kind::Fifo),
        item("twin", Kind::HardLink(b"tmp/setgid".to_vec())),
        item("tmp/pipe", Kind::HardLink(b"pipe".to_vec())),
        item("tmp/null", Kind::HardLink(b"null".to_vec())),
        file("with space\"quote'\\back\tline", b"y"),
    ]
}

fn times() -> Vec<Item> {
    [
        (0, 0),
        (-1, 999_999_999),
        (-2_000_000_000, 5),
        (1, 1),
        (4_000_000_000, 123_456_789),
        (15_000_000_000, 0),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, mtime)| Item { mtime, ..file(format!("{number}"), b"") })
    .collect()
}

fn attributes() -> Vec<Item> {
    let mut capability = vec![1, 0, 0, 2];
    capability.extend([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let capability = vec![("security.capability".to_owned(), capability)];
    let user = |len| vec![("user.a".to_owned(), vec![b'\n'; len]), ("user.b".to_owned(), vec![0, 1, 255])];
    vec![
        Item { xattrs: capability, mode: 0o755, ..file("ping", b"elf") },
        Item { xattrs: user(3), ..folder("small") },
        Item { xattrs: user(3000), ..file("large", b"z") },
        Item { xattrs: vec![("trusted.t".to_owned(), b"v".to_vec())], ..file("trusted", b"") },
    ]
}

fn large() -> Vec<Item> {
    vec![
        item("hole", Kind::Sparse(5 << 30, (5 << 30) - 3, b"end".to_vec())),
        item("middle", Kind::Sparse(9 << 30, (4 << 30) + 4095, vec![9; 10_000])),
    ]
}

fn small_folders_of_bytes() -> Vec<Item> {
    let mut items = vec![folder("d"), folder(b"d/\xe9t\xe9"), file(b"d/\xe9t\xe9/\xff", b"1")];
    items.extend((128..=255_u8).map(|byte| file([b"d/".as_slice(), &[byte]].concat(), &[byte])));
    items.push(file([b"d/".as_slice(), &[0xfe; 255]].concat(), b"2"));
    items.push(item(b"d/\xc3", Kind::HardLink(b"d/\xe9t\xe9/\xff".to_vec())));
    items.retain(|item| item.path != b"d/\xc3" || matches!(item.kind, Kind::HardLink(_)));
    items.push(item(b"l\xe4nk", Kind::Link(b"d/\xe9t\xe9".to_vec())));
    items.push(item("59", Kind::Link(vec![0xe4; 59])));
    items.push(item("60", Kind::Link(vec![0xe4; 60])));
    items.push(item("4000", Kind::Link(vec![0xe4; 4000])));
    items
}

fn large_folders_of_bytes() -> Vec<Item> {
    let mut items = vec![folder("all"), folder("some"), folder("one"), folder("deep")];
    for number in 0..3000 {
        items.push(file([b"all/\xe9-".as_slice(), format!("{number}").as_bytes()].concat(), b""));
        let mut name = format!("some/{number:0width$}", width = number % 40 + 1).into_bytes();
        if number % 7 == 0 {
            name.push(0xfc);
        }
        items.push(file(name, b""));
        items.push(file(format!("one/{number}"), b""));
    }
    items.push(file(b"one/\xff", b"here"));
    // So many that the index has nodes between: more than 507 blocks of names.
    for number in 0..9000 {
        items.push(item(
            [b"deep/".as_slice(), format!("{number:0>200}").as_bytes(), &[0xe9; 40]].concat(),
            Kind::HardLink(b"one/\xff".to_vec()),
        ));
    }
    items
}

fn many() -> Vec<Item> {
    let mut items = vec![folder("d"), file("f", b"content")];
    items.extend((0..5000).map(|number| file(format!("d/{number:0>20}"), b"")));
    items.extend((0..3000).map(|number| item(format!("h{number}"), Kind::HardLink(b"f".to_vec()))));
    items
}

#[rstest]
#[case::nothing(vec![])]
#[case::root(vec![Item { mode: 0o1700, owner: (5, 6), mtime: (77, 8), ..folder("") }])]
#[case::kinds(kinds())]
#[case::times(times())]
#[case::attributes(attributes())]
#[case::large(large())]
#[case::small_folders_of_bytes(small_folders_of_bytes())]
#[case::large_folders_of_bytes(large_folders_of_bytes())]
#[case::many(many())]
fn every_writer_holds_the_tree(
    #[case] items: Vec<Item>,
    #[values(WriterKind::Mkext4, WriterKind::Mke2fs)] writer: WriterKind,
) {
    check(&items, writer);
}

#[test]
fn links_have_further_names_as_well() {
    let items = [item("link", Kind::Link(b"x".to_vec())), item("again", Kind::HardLink(b"link".to_vec()))];
    check(&items, WriterKind::Mkext4);
}

#[test]
fn the_digest_is_that_of_the_file() {
    let place = tempfile::tempdir().unwrap();
    let image = image(place.path(), &layer(&kinds()));
    let path = place.path().join("rootfs.ext4");
    let built = build(&image, &path, &Options::default(), &Quiet).unwrap();
    assert_eq!(built.sha256, Digest::of(&std::fs::read(&path).unwrap()));
}
