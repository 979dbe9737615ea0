//! How much memory an image can make the conversion take: measured in a process of its own.

use std::io::Write as _;
use std::process::Command;

use rootfs::source::{Choice, Image};
use rootfs::{Digest, Limits, Quiet};

use super::archive::{Archive, header};
use super::image::Layout;

/// Where the child finds its image; without it, it is no child.
const IMAGE: &str = "ROOTFS_TEST_IMAGE";

/// What the child does: one conversion, whatever becomes of it, and then the most memory that it ever had.
#[test]
fn child() {
    let Ok(path) = std::env::var(IMAGE) else { return };
    let options = rootfs::build::Options { limits: Limits::default(), ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let outcome =
        Image::open(path.as_ref(), &Choice::default()).map_err(|error| error.to_string()).and_then(|image| {
            let built = rootfs::build::build(&image, &folder.path().join("out"), &options, &Quiet);
            built.map(|built| built.inodes).map_err(|error| error.to_string())
        });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let text = match outcome {
        Ok(inodes) => format!("built {inodes}"),
        Err(why) => format!("refused {why}"),
    };
    // Past what captures the output of tests.
    writeln!(std::io::stderr(), "peak={peak} outcome={text}").unwrap();
}

/// The most memory of a conversion, in KiB, and what became of it.
fn peak(layout: &Layout) -> (u64, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["memory::child", "--exact", "--nocapture"])
        .env(IMAGE, layout.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("peak=")).unwrap_or_else(|| panic!("{text}"));
    let (kib, outcome) = line.split_once(" kB outcome=").unwrap();
    (kib.trim().parse().unwrap(), outcome.to_owned())
}

fn gzip_of(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, Digest) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut plain = Vec::new();
    for piece in pieces {
        packed.write_all(&piece).unwrap();
        plain.extend(piece);
    }
    (packed.finish().unwrap(), Digest::of(&plain))
}

fn packed(packed: &[u8], plain: Digest) -> Layout {
    let layout = Layout::new();
    let image = layout.packed_image(&[packed.to_vec()], &[plain]);
    layout.index(&[image]);
    layout
}

/// A layer of so many files in folders of a thousand.
fn names(count: usize) -> Layout {
    let pieces = (0..count).step_by(1000).map(|first| {
        let folder = format!("usr/lib/node_modules/package-{first}");
        let files = (first..first + 1000).map(|number| format!("{folder}/dist/module-{number}.js"));
        files.fold(Archive::new(), |archive, path| archive.file(&path, b"")).0
    });
    let (bytes, plain) = gzip_of(pieces.chain([Archive::new().end()]));
    packed(&bytes, plain)
}

const MIB: u64 = 1024;

#[test]
fn an_image_of_a_hundred_thousand_files() {
    let (kib, outcome) = peak(&names(100_000));
    assert!(outcome.starts_with("built"), "{outcome}");
    assert!(kib < 150 * MIB, "{kib} KiB");
}

#[test]
#[ignore = "half a GiB of headers; run it with --ignored --nocapture for the figure"]
fn an_image_of_nearly_a_million_files() {
    let (kib, outcome) = peak(&names(990_000));
    assert!(outcome.starts_with("built"), "{outcome}");
    writeln!(std::io::stderr(), "990000 names: {} MiB, {outcome}", kib / MIB).unwrap();
    assert!(kib < 1024 * MIB, "{kib} KiB");
}

/// However many bytes there are: two GiB in one file and a hole of a TiB beside it.
#[test]
fn large_files_take_no_memory() {
    let zeros = vec![0; 16 << 20];
    let mut packed_bytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let sparse = Archive::new()
        .pax(&[
            ("GNU.sparse.map", b"0,1"),
            ("GNU.sparse.size", b"1099511627776"),
            ("GNU.sparse.name", b"hole"),
        ])
        .file("x", b"a");
    let layer_head = sparse.block(header(b'0', "large", 1 << 31)).0;
    let pieces = || {
        std::iter::once(layer_head.as_slice())
            .chain(std::iter::repeat_n(zeros.as_slice(), 128))
            .chain(std::iter::once(&zeros[..1024]))
    };
    let hashed = pieces().try_for_each(|piece| packed_bytes.write_all(piece));
    hashed.unwrap();
    let layout = packed(&packed_bytes.finish().unwrap(), digest_of(pieces()));
    let (kib, outcome) = peak(&layout);
    assert!(outcome.starts_with("built"), "{outcome}");
    assert!(kib < 64 * MIB, "{kib} KiB");
}

fn digest_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Digest {
    use sha2::Digest as _;
    let hash = pieces.fold(sha2::Sha256::new(), sha2::Digest::chain_update).finalize();
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().unwrap()
}

/// A stream that asks for a window of 128 MiB and for one of 2 GiB: refused before there is any.
#[test]
fn windows_of_unpackers_are_bounded() {
    for log in [27, 31] {
        let mut packed_bytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed_bytes.long_distance_matching(true).unwrap();
        packed_bytes.window_log(log.min(27)).unwrap();
        packed_bytes.write_all(&Archive::new().file("x", &vec![7; 1 << 20]).end()).unwrap();
        let mut bytes = packed_bytes.finish().unwrap();
        // The descriptor of the window is the sixth byte: its exponent, less ten, in the upper five bits (RFC 8878, 3.1.1.1.2).
        bytes[5] = u8::try_from(log - 10).unwrap() << 3;
        let (kib, outcome) = peak(&packed(&bytes, Digest::of(b"")));
        assert!(outcome.starts_with("refused layer 1, "), "{outcome}");
        assert!(kib < 64 * MIB, "{kib} KiB");
    }
}

/// Headers that only ever add to one entry, 512 MiB of them in half a MiB.
#[test]
fn headers_without_an_entry_take_no_memory() {
    let pieces = (0..512).map(|number| {
        let value = vec![b'x'; 1 << 19];
        let one = |part: u8| Archive::new().pax(&[(&format!("SCHILY.xattr.user.{number}.{part}"), &value)]).0;
        [one(0), one(1)].concat()
    });
    let mut packed_bytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
    pieces.for_each(|piece| packed_bytes.write_all(&piece).unwrap());
    let (kib, outcome) = peak(&packed(&packed_bytes.finish().unwrap(), Digest::of(b"")));
    assert!(outcome.contains("its extended headers have more than"), "{outcome}");
    assert!(kib < 64 * MIB, "{kib} KiB");
}

/// Attributes as large as they may be on each of two hundred thousand names.
#[test]
fn attributes_in_floods_take_no_more_than_their_bound() {
    let value = vec![b'v'; 3900];
    let piece: Vec<u8> = (0..1000)
        .flat_map(|number| {
            Archive::new().pax(&[("SCHILY.xattr.user.a", &value)]).file(&format!("n{number}"), b"").0
        })
        .collect();
    let mut packed_bytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
    (0..200).for_each(|_| packed_bytes.write_all(&piece).unwrap());
    let (kib, outcome) = peak(&packed(&packed_bytes.finish().unwrap(), Digest::of(b"")));
    assert!(outcome.contains("names and attributes of the image have more than"), "{outcome}");
    assert!(kib < 256 * MIB, "{kib} KiB");
}
