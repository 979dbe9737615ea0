//! Layers as real programs write them, and as nobody should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::io::Write;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use rootfs::layer::{Budget, Excess, Layer, LayerError, LayerProblem, Malformed, TarError, contents, scan};
use rootfs::{BadPath, Device, Digest, Entry, EntryKind, Extent, Limits, Time};
use rstest::rstest;

fn scanned(archive: &[u8]) -> Result<Layer, LayerError> {
    scan(0, archive, &mut Budget::new(Limits::default()))
}

fn entry<'a>(layer: &'a Layer, path: &str) -> &'a Entry {
    let bytes = path.trim_start_matches('/').as_bytes();
    layer.entries.iter().find(|entry| entry.path.as_bytes() == bytes).unwrap_or_else(|| {
        panic!("no {path} among {:?}", layer.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>())
    })
}

/// The content of an entry, holes filled.
fn content(archive: &[u8], wanted: &Entry) -> Vec<u8> {
    let EntryKind::File(file) = &wanted.kind else { panic!("{wanted:?} is no file") };
    let mut found = None;
    contents(0, archive, &Limits::default(), |number, reader| {
        if number == file.entry {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            found = Some(bytes);
        }
        Ok(())
    })
    .unwrap();
    let stored = found.unwrap();
    let Some(map) = &file.data else {
        assert_eq!(stored.len() as u64, file.size);
        return stored;
    };
    let mut whole = vec![0; usize::try_from(file.size).unwrap()];
    let mut at = 0;
    for extent in map {
        let (offset, len) = (usize::try_from(extent.offset).unwrap(), usize::try_from(extent.len).unwrap());
        whole[offset..offset + len].copy_from_slice(&stored[at..at + len]);
        at += len;
    }
    assert_eq!(at, stored.len());
    whole
}

fn gnu_tar(folder: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--create", "--file=-"])
        .args(options)
        .arg("-C")
        .arg(folder)
        .arg(".")
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A folder with what formats differ in.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("plain"), "hello").unwrap();
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d").join("n".repeat(200)), "long").unwrap();
    symlink("t".repeat(300), at("link")).unwrap();
    std::fs::hard_link(at("plain"), at("twin")).unwrap();
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    for index in 0..40_u64 {
        sparse.write_all_at(&[u8::try_from(index).unwrap() + 1; 4096], index * 64 * 1024 + 4096).unwrap();
    }
    folder
}

#[rstest]
#[case(&["--format=gnu"])]
#[case(&["--format=pax"])]
#[case(&["--format=gnu", "--sparse"])]
#[case(&["--format=pax", "--sparse", "--sparse-version=1.0"])]
#[case(&["--format=pax", "--sparse", "--sparse-version=0.1"])]
#[case(&["--format=pax", "--sparse", "--sparse-version=0.0"])]
fn gnu_tar_in_all_its_formats(#[case] options: &[&str]) {
    let folder = folder();
    let archive = gnu_tar(folder.path(), options);
    let layer = scanned(&archive).unwrap();
    assert_eq!(layer.diff_id, Digest::of(&archive));
    assert_eq!(layer.bytes, archive.len() as u64);
    assert_eq!(entry(&layer, "/").kind, EntryKind::Directory);
    assert_eq!(content(&archive, entry(&layer, &format!("/d/{}", "n".repeat(200)))), b"long");
    assert_eq!(entry(&layer, "/link").kind, EntryKind::Symlink("t".repeat(300).into_bytes().into()));
    let names = ["/plain", "/twin"].map(|name| &entry(&layer, name).kind);
    let links = names.iter().filter(|kind| matches!(kind, EntryKind::HardLink(_))).count();
    assert_eq!(links, 1, "{names:?}");
    let sparse = entry(&layer, "/sparse");
    let EntryKind::File(file) = &sparse.kind else { panic!() };
    assert_eq!(file.data.is_some(), options.contains(&"--sparse"));
    assert_eq!(content(&archive, sparse), std::fs::read(folder.path().join("sparse")).unwrap());
    if options.contains(&"--format=pax") {
        let meta = std::fs::metadata(folder.path().join("plain")).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        let time = Time { seconds: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap() };
        let plain = layer
            .entries
            .iter()
            .find(|entry| matches!(entry.kind, EntryKind::File(_)) && entry.meta.mtime == time);
        assert!(plain.is_some());
    }
}

/// A header of our own making, for what no program writes.
fn header(kind: u8, path: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
    block[100..108].copy_from_slice(b"0000755\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    sealed(block)
}

fn sealed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn with_link(kind: u8, path: &[u8], link: &[u8]) -> [u8; 512] {
    let mut block = header(kind, path, 0);
    block[157..157 + link.len()].copy_from_slice(link);
    sealed(block)
}

fn filled(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let len = (body + 1..).find(|len| body + len.to_string().len() == *len).unwrap();
        all.extend([format!("{len} {key}=").as_bytes(), value, b"\n"].concat());
    }
    [header(b'x', b"pax", all.len() as u64).to_vec(), filled(&all)].concat()
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

#[test]
fn what_go_writes_is_read() {
    let capability = b"\x01\x00\x00\x02\x20\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let path = [b"usr/bin/".as_slice(), &[b'p'; 150], b"\xe9"].concat();
    let archive = [
        pax(&[
            ("path", &path),
            ("uid", b"4294967294"),
            ("gid", b"100000"),
            ("mtime", b"1700000000.123456789"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"a=b\nc"),
        ]),
        header(b'0', b"short", 3).to_vec(),
        filled(b"abc"),
        with_link(b'3', b"dev/null", b"").to_vec(),
        header(b'6', b"pipe", 0).to_vec(),
        end(),
    ]
    .concat();
    let layer = scanned(&archive).unwrap();
    let [first, device, pipe] = layer.entries.as_slice() else { panic!("{layer:?}") };
    assert_eq!(first.path.as_bytes(), path);
    assert_eq!((first.meta.uid, first.meta.gid), (4_294_967_294, 100_000));
    assert_eq!(first.meta.mtime, Time { seconds: 1_700_000_000, nanos: 123_456_789 });
    let xattrs = first.meta.xattrs.as_ref().unwrap();
    assert_eq!(&*xattrs[0].0, b"security.capability");
    assert_eq!(&*xattrs[0].1, capability);
    assert_eq!(&*xattrs[1].1, b"a=b\nc");
    assert_eq!(content(&archive, first), b"abc");
    assert_eq!(device.kind, EntryKind::CharDevice(Device { major: 0, minor: 0 }));
    assert_eq!(pipe.kind, EntryKind::Fifo);
}

#[test]
fn whiteouts_are_told_from_files() {
    let kinds = |path: &str| {
        let layer = scanned(&[header(b'0', path.as_bytes(), 0).to_vec(), end()].concat()).unwrap();
        layer.entries.into_iter().map(|entry| (entry.path.to_string(), entry.kind)).collect::<Vec<_>>()
    };
    assert_eq!(kinds("a/.wh.b"), [("/a/b".to_owned(), EntryKind::Whiteout)]);
    assert_eq!(kinds(".wh.b"), [("/b".to_owned(), EntryKind::Whiteout)]);
    assert_eq!(kinds("a/.wh..wh..opq"), [("/a".to_owned(), EntryKind::Opaque)]);
    assert_eq!(kinds(".wh..wh..opq"), [("/".to_owned(), EntryKind::Opaque)]);
    assert_eq!(kinds("a/.wh..wh.plnk"), []);
    assert!(matches!(&kinds("a/.whb")[..], [(_, EntryKind::File(_))]));
    for nothing in [".wh.", "a/.wh..", "a/.wh..."] {
        let error = scanned(&[header(b'0', nothing.as_bytes(), 0).to_vec(), end()].concat()).unwrap_err();
        assert!(matches!(error.why, LayerProblem::Whiteout), "{nothing}: {error}");
    }
}

#[test]
fn packed_layers_are_told_by_their_first_bytes() {
    let plain = [header(b'5', b"d/", 0).to_vec(), end()].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for packed in [plain.clone(), gzip.clone(), zstd.clone()] {
        assert_eq!(scanned(&packed).unwrap(), scanned(&plain).unwrap());
    }
    // An empty layer, and two streams in one file.
    assert!(scanned(&end()).unwrap().entries.is_empty());
    assert!(scanned(b"").unwrap().entries.is_empty());
    for packed in [&gzip, &zstd] {
        assert!(scanned(&packed[..packed.len() - 6]).is_err(), "a stream that is cut off");
    }
    let mut damaged = gzip;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    assert!(scanned(&damaged).is_err());
}

#[rstest]
#[case::parent(header(b'0', b"a/../../etc/passwd", 0), "it is no path: it has a '..'")]
#[case::link_to_parent(
    with_link(b'1', b"a", b"../../etc/passwd"),
    "it is a hard link to what is no path: it has a '..'"
)]
#[case::link_to_nothing(header(b'2', b"a", 0), "it is a symbolic link to nothing")]
#[case::kind(header(b'Z', b"a", 0), "its kind 'Z' is none that a file system has")]
fn an_entry_that_cannot_be_is_named(#[case] block: [u8; 512], #[case] why: &str) {
    let archive = [header(b'5', b"first", 0).to_vec(), block.to_vec(), end()].concat();
    let error = scanned(&archive).unwrap_err();
    assert_eq!(error.why.to_string(), why);
    assert!(error.to_string().starts_with("layer 1, at or after \""), "{error}");
}

#[test]
fn a_damaged_archive_is_refused() {
    let archive =
        [header(b'0', b"a", 600).to_vec(), filled(&[1; 600]), header(b'5', b"d", 0).to_vec(), end()].concat();
    let why = |bytes: &[u8]| match scanned(bytes).unwrap_err().why {
        LayerProblem::Tar(TarError::Malformed(why)) => why,
        other => panic!("{other}"),
    };
    let mut flipped = archive.clone();
    flipped[10] ^= 1;
    assert_eq!(why(&flipped), Malformed::Checksum);
    for cut in [100, 511, 513, 1000, 1111] {
        assert_eq!(why(&archive[..cut]), Malformed::Truncated, "{cut}");
    }
    let mut lying = header(b'0', b"a", 0);
    lying[124..136].copy_from_slice(b"77777777777\0");
    assert_eq!(why(&sealed(lying)), Malformed::Truncated);
    let mut nonsense = header(b'0', b"a", 0);
    nonsense[124..136].copy_from_slice(b"99999999999\0");
    assert_eq!(why(&sealed(nonsense)), Malformed::Number);
    assert_eq!(why(b"this is no archive at all, whatever its name says"), Malformed::Truncated);
    assert_eq!(why(&[b'x'; 1024]), Malformed::Checksum);
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let sparse = |map: &[u8], real: &[u8], data: &[u8]| {
        let archive = [
            pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", real), ("GNU.sparse.name", b"s")]),
            header(b'0', b"x", data.len() as u64).to_vec(),
            filled(data),
            end(),
        ];
        scanned(&archive.concat())
    };
    let file = sparse(b"0,2,10,1", b"20", b"abc").unwrap();
    let EntryKind::File(content) = &entry(&file, "/s").kind else { panic!() };
    assert_eq!(content.size, 20);
    assert_eq!(
        content.data.as_deref(),
        Some(&[Extent { offset: 0, len: 2 }, Extent { offset: 10, len: 1 }][..])
    );
    for (map, real, data) in [
        (&b"10,1,0,2"[..], &b"20"[..], &b"abc"[..]),
        (b"0,2,1,1", b"20", b"abc"),
        (b"0,2,19,2", b"20", b"abcd"),
        (b"0,2", b"20", b"abc"),
        (b"0,9", b"20", b"abc"),
        (b"18446744073709551615,2", b"20", b"ab"),
    ] {
        let error = sparse(map, real, data).unwrap_err();
        assert!(
            matches!(error.why, LayerProblem::Tar(TarError::Malformed(Malformed::Sparse))),
            "{}: {error}",
            String::from_utf8_lossy(map)
        );
    }
}

#[test]
fn floods_and_bombs_end_at_their_bound() {
    let limits = Limits {
        entries: 10,
        bytes: 100_000,
        apparent: 1 << 40,
        header: 2048,
        metadata: 5000,
        layers: 10,
        ..Limits::default()
    };
    let excess = |archive: &[u8]| scan(0, archive, &mut Budget::new(limits)).unwrap_err().why;
    let names: Vec<u8> =
        (0..20).flat_map(|number| header(b'0', format!("n{number}").as_bytes(), 0)).collect();
    assert!(matches!(excess(&names), LayerProblem::Excess(Excess::Entries(10))));
    let bomb = [header(b'0', b"zeros", 1 << 30).to_vec(), vec![0; 200_000]].concat();
    // Not "cut off": nothing is wrong with the archive but its size.
    assert!(matches!(excess(&bomb), LayerProblem::Excess(Excess::Bytes(100_000))));
    let long: Vec<u8> = (0..8)
        .flat_map(|number| {
            [pax(&[("path", &[b'a' + number; 250].repeat(4))]), header(b'0', b"x", 0).to_vec()].concat()
        })
        .collect();
    assert!(matches!(excess(&long), LayerProblem::Path(BadPath::LongName)));
    let folders = |number: u8| [[b'a' + number; 200].as_slice(), b"/"].concat().repeat(4);
    let long: Vec<u8> = (0..8)
        .flat_map(|number| [pax(&[("path", &folders(number))]), header(b'5', b"x", 0).to_vec()].concat())
        .collect();
    assert!(matches!(excess(&long), LayerProblem::Excess(Excess::Metadata(5000))));
    // What is held in memory is bounded before it is read: a size that nobody sends costs nothing.
    for kind in [b'x', b'L', b'K'] {
        let error = excess(&header(kind, b"h", 1 << 32));
        assert!(matches!(error, LayerProblem::Tar(TarError::Malformed(Malformed::Header(2048)))), "{error}");
    }
    let xattrs = [pax(&[("SCHILY.xattr.user.a", &[b'x'; 2000])]), header(b'0', b"x", 0).to_vec()].concat();
    assert!(scan(0, &xattrs[..], &mut Budget::new(limits)).is_ok());
    let value = vec![b'x'; 4100];
    let xattrs = [pax(&[("SCHILY.xattr.user.a", &value)]), header(b'0', b"x", 0).to_vec()].concat();
    assert!(matches!(scanned(&xattrs).unwrap_err().why, LayerProblem::Xattrs));
}

#[test]
fn a_bomb_that_unpacks_stops_at_its_bound() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&header(b'0', b"zeros", 64 << 20)).unwrap();
    packed.write_all(&vec![0; 64 << 20]).unwrap();
    packed.write_all(&end()).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 100_000);
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    assert!(scan(0, &packed[..], &mut Budget::new(limits)).is_err());
    assert_eq!(scanned(&packed).unwrap().entries.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_are_a_surprise(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        drop(scanned(&bytes));
    }

    #[test]
    fn a_damaged_header_is_no_surprise(
        kind in prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'S'), Just(b'x'), Just(b'L'), any::<u8>()],
        damage in proptest::collection::vec((0..512_usize, any::<u8>()), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        let mut block = header(kind, b"some/path", 100);
        for (at, byte) in damage {
            block[at] = byte;
        }
        let archive = [sealed(block).to_vec(), tail, end()].concat();
        if let Ok(layer) = scanned(&archive) {
            for entry in &layer.entries {
                prop_assert!(entry.path.names().all(|name| name != b".."));
            }
        }
    }
}
