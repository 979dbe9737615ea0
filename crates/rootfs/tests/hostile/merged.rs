//! Layers that contradict themselves and each other, floods of names, and depth.

use rootfs::Limits;
use rstest::rstest;

use super::archive::{Archive, header, with_field};
use super::image::{Layout, content};
use super::refused;

#[test]
fn the_last_of_several_entries_counts() {
    let archive = Archive::new()
        .file("x", b"one")
        .file("x", b"two")
        .dir("d")
        .file("d/below", b"gone")
        .file("d", b"a file now")
        .file("f", b"gone")
        .dir("f")
        .file("f/below", b"here")
        .symlink("s", "x")
        .dir("s")
        .hard_link("one", "x")
        .hard_link("two", "one")
        .hard_link("three", "two")
        .hard_link("three", "three");
    let fs = Layout::of(&[archive.end()]).built();
    assert_eq!(content(&fs, "/x"), b"two");
    assert_eq!(content(&fs, "/d"), b"a file now");
    assert_eq!(content(&fs, "/f/below"), b"here");
    assert!(fs.read_dir(fs.resolve("/s").unwrap()).is_ok());
    assert_eq!(fs.resolve("/three").unwrap(), fs.resolve("/x").unwrap());
}

#[rstest]
#[case::devices(b'3')]
#[case::files(b'0')]
#[case::folders(b'5')]
#[case::pipes(b'6')]
#[case::whiteouts(b'w')]
fn a_flood_ends_at_its_bound(#[case] kind: u8) {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let mut archive = Archive::new();
    for number in 0..1100 {
        archive = match kind {
            b'w' => archive.file(&format!(".wh.{number}"), b""),
            _ => archive.entry(kind, &format!("n{number}")),
        };
    }
    let text = refused(&[archive.end()], limits);
    assert!(text.contains("more than 1000 entries") && text.contains("1000\""), "{text}");
    // The same over several layers.
    let few = |layer: usize| {
        let names = (0..400).map(|number| format!("{layer}-{number}"));
        names.fold(Archive::new(), |archive, name| archive.dir(&name)).end()
    };
    let text = refused(&[few(0), few(1), few(2)], limits);
    assert!(text.contains("more than 1000 entries"), "{text}");
}

/// Every folder on the way is a node, too: a few entries can make many.
#[test]
fn a_flood_of_folders_that_nobody_wrote_ends_at_its_bound() {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let text = refused(&[Archive::new().file(&"d/".repeat(1500), b"").end()], limits);
    assert!(text.contains("more than 1000 files and folders"), "{text}");
}

/// As deep as a path can be, in all that walks the tree.
#[test]
fn the_deepest_tree_becomes_a_file_system() {
    let path = "d/".repeat(2047) + "x";
    let fs = Layout::of(&[Archive::new().file(&path, b"deep").end()]).built();
    assert_eq!(content(&fs, &format!("/{path}")), b"deep");
}

/// Links to the deepest folder so far make depth that no path has: 100 000 levels in fifty entries.
#[test]
fn depth_by_links_ends() {
    let step = "d/".repeat(1000);
    let mut archive = Archive::new().symlink("s0", "/");
    for number in 1..50 {
        let below = format!("s{}/{step}", number - 1);
        archive = archive.dir(&below).symlink(&format!("s{number}"), &below);
    }
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains("hold more than 1024 names"), "{text}");
    // With long names the path is too long before.
    let step = format!("{}/", "d".repeat(200)).repeat(12);
    let archive = Archive::new().symlink("s", &step).dir(&format!("s/{step}"));
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains("its path is longer than 4096 bytes"), "{text}");
}

/// Entries with short names behind a link have long paths, and whoever lists the tree holds them all.
#[test]
fn short_names_of_long_paths_are_counted_as_long() {
    let deep = format!("{}/", "d".repeat(200)).repeat(15);
    let limits = Limits { metadata: 100_000, ..Limits::default() };
    let mut archive = Archive::new().dir(&deep).symlink("s", &deep);
    for number in 0..200 {
        archive = archive.file(&format!("s/{number}"), b"");
    }
    let text = refused(&[archive.end()], limits);
    assert!(text.contains("the paths of the image have more than 100000 bytes"), "{text}");
    let mut links = Archive::new().dir(&deep).symlink("s", &deep).file("x", b"");
    for number in 0..200 {
        links = links.hard_link(&format!("s/{number}"), "x");
    }
    let text = refused(&[links.end()], limits);
    assert!(text.contains("the paths of the image have more than 100000 bytes"), "{text}");
}

#[rstest]
#[case::owner(108, b"\x80\0\0\x01\0\0\0\0", "no number")]
#[case::negative_owner(108, b"\xff\xff\xff\xff\xff\xff\xff\xff", "no number")]
#[case::negative_group(116, b"\xff\xff\xff\xff\xff\xff\xff\xff", "no number")]
#[case::negative_size(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "no number")]
#[case::size_beyond_64_bits(124, b"\x80\x00\x00\x01\0\0\0\0\0\0\0\0", "no number")]
#[case::size_beyond_ext4(124, b"\x80\0\0\0\0\0\x10\0\0\0\0\0", "more than 17592186040320 bytes")]
#[case::size_of_all_64_bits(
    124,
    b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    "more than 17592186040320 bytes"
)]
#[case::words_for_a_size(124, b"all of it!!\0", "no number")]
#[case::time_of_all_64_bits(136, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "no number")]
#[case::mode(100, b"rwxrwxrw", "no number")]
fn numbers_that_cannot_be_are_refused(#[case] at: usize, #[case] bytes: &[u8], #[case] why: &str) {
    let archive = Archive::new().dir("first").block(with_field(header(b'0', "x", 0), at, bytes));
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains(why) && (text.contains("first") || text.contains("\"x\"")), "{text}");
}

#[rstest]
#[case::owner("uid", b"4294967296")]
#[case::negative_group("gid", b"-1")]
#[case::size("size", b"18446744073709551616")]
#[case::no_time("mtime", b"NaN")]
#[case::endless_time("mtime", b"inf")]
#[case::time("mtime", b"9223372036854775808")]
#[case::time_with_an_exponent("mtime", b"1e3")]
fn numbers_of_extended_headers_that_cannot_be_are_refused(#[case] key: &str, #[case] value: &[u8]) {
    let archive = Archive::new().dir("first").pax(&[(key, value)]).file("x", b"");
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains("malformed") || text.contains("no number"), "{text}");
}

/// The largest and smallest times that can be written are stored as the nearest ones that ext4 has.
#[test]
fn times_beyond_the_file_systems_are_stored_as_its_last() {
    let archive = Archive::new()
        .pax(&[("mtime", b"9223372036854775807.999999999999")])
        .file("late", b"")
        .pax(&[("mtime", b"-9223372036854775807.999999999999")])
        .file("early", b"");
    Layout::of(&[archive.end()]).built();
}
