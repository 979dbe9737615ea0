//! Images that take much memory for few bytes: refused before they get it, and what the refusal says is enough.

use std::fmt::Write as _;

use super::archive::Archive;
use super::image::Layout;
use super::memory::{MIB, gzip_of, packed, peak_with};
use rootfs::Limits;

/// What each of them has too much for, in MiB.
const ALLOWED: u64 = 72;

/// Adds one costly thing of a number to an archive.
type Shape = fn(Archive, usize) -> Archive;

const SHAPES: [(&str, usize, Shape); 9] = [
    ("files", 80_000, |archive, number| archive.file(&format!("{}/file-{number}", number / 1000), b"")),
    ("files with a byte", 80_000, |archive, number| {
        archive.file(&format!("{}/file-{number}", number / 1000), b"x")
    }),
    ("folders", 25_000, |archive, number| archive.dir(&format!("{}/folder-{number}", number / 1000))),
    ("long names", 40_000, |archive, number| archive.file(&format!("{}/{number:0>250}", number / 1000), b"")),
    ("long links", 20_000, |archive, number| {
        archive.symlink(&format!("{}/link-{number}", number / 1000), &format!("{number:0>99}"))
    }),
    ("short links", 80_000, |archive, number| {
        archive.symlink(&format!("{}/link-{number}", number / 1000), "target")
    }),
    ("attributes", 18_000, |archive, number| {
        let value = format!("{number:0>200}");
        let archive = archive.pax(&[("SCHILY.xattr.user.some", value.as_bytes())]);
        archive.file(&format!("{}/file-{number}", number / 1000), b"")
    }),
    ("further names", 260_000, |archive, number| {
        // ext4 gives an inode 65 000 names.
        let first = format!("first-{}", number / 50_000);
        let archive = if number % 50_000 == 0 { archive.file(&first, b"x") } else { archive };
        archive.hard_link(&format!("{}/name-{number}", number / 1000), &first)
    }),
    ("sparse files", 6000, |archive, number| {
        let map = (0..100).fold(String::new(), |mut map, part| {
            write!(map, "{}{},1", if part == 0 { "" } else { "," }, part * 8192 + 1).unwrap();
            map
        });
        let name = format!("{}/sparse-{number}", number / 1000);
        archive
            .pax(&[
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.size", b"1000000"),
                ("GNU.sparse.name", name.as_bytes()),
            ])
            .file("x", &[7; 100])
    }),
];

#[test]
fn what_costs_much_is_refused_before_and_what_is_said_is_enough() {
    for (what, count, shape) in SHAPES {
        let layout = layout(count, shape);
        let (kib, outcome) = peak_with(&layout, ALLOWED << 20);
        assert!(outcome.starts_with("refused "), "{what}: {outcome}");
        assert!(kib < ALLOWED * MIB, "{what}: {kib} KiB before it was refused");
        // A refusal in the middle of reading does not know how much there is to come.
        let needs = outcome.split_once(" takes about ").map_or(2 * ALLOWED, |(_, rest)| {
            let (needs, rest) = rest.split_once(' ').unwrap();
            assert_eq!(rest, "MiB of memory, and 72 MiB are allowed");
            needs.parse().unwrap()
        });
        let (taken, outcome) = peak_with(&layout, needs << 20);
        eprintln!("{count} {what}: {kib} KiB to refuse, {needs} MiB said, {taken} KiB taken");
        assert!(outcome.starts_with("built"), "{what} with {needs} MiB: {outcome}");
        assert!(taken < needs * MIB, "{what}: {needs} MiB were said, {taken} KiB are taken");
    }
}

/// Names that one layer brings and the next removes take memory as well.
#[test]
fn what_layers_replace_is_bounded_too() {
    let memory = Limits::LEAST_MEMORY;
    let layers: Vec<_> = (0..40)
        .map(|layer| {
            let names = (0..10_000)
                .fold(Archive::new(), |archive, number| archive.file(&format!("{layer}-{number:0>90}"), b""));
            let hidden = (0..if layer == 0 { 0 } else { 10_000 }).fold(names, |archive, number| {
                archive.file(&format!(".wh.{}-{number:0>90}", layer - 1), b"")
            });
            gzip_of([hidden.end()].into_iter())
        })
        .collect();
    let layout = Layout::new();
    let (packed, plain): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let image = layout.packed_image(&packed, &plain);
    layout.index(&[image]);
    let (kib, outcome) = peak_with(&layout, memory);
    assert!(outcome.contains("take more memory than the 64 MiB that are allowed"), "{outcome}");
    assert!(kib < memory / 1024, "{kib} KiB");
}

fn layout(count: usize, shape: Shape) -> Layout {
    let pieces =
        (0..count).step_by(1000).map(|first| (first..count.min(first + 1000)).fold(Archive::new(), shape).0);
    let (bytes, plain) = gzip_of(pieces.chain([Archive::new().end()]));
    packed(&bytes, plain)
}
