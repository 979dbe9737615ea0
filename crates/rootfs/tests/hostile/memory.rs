//! How much memory an image can make the conversion take: measured in a process of its own.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rootfs::source::{Choice, Image};
use rootfs::{Digest, Limits, Quiet};

use super::archive::{Archive, header};
use super::image::Layout;

/// Where the child finds its image; without it, it is no child.
const IMAGE: &str = "ROOTFS_TEST_IMAGE";
/// How many bytes of memory it may take, if not the usual ones.
const MEMORY: &str = "ROOTFS_TEST_MEMORY";
/// Where it leaves the file system, if that is wanted.
const KEPT: &str = "ROOTFS_TEST_KEPT";

/// What the child does: one conversion, whatever becomes of it, and then the most memory that it ever had.
#[test]
fn child() {
    let Ok(path) = std::env::var(IMAGE) else { return };
    let memory = std::env::var(MEMORY).map_or(Limits::MEMORY, |text| text.parse().unwrap());
    let limits = Limits { memory, ..Limits::default() };
    let options = rootfs::build::Options { limits, ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let file = std::env::var_os(KEPT).map_or_else(|| folder.path().join("out"), PathBuf::from);
    let outcome =
        Image::open(path.as_ref(), &Choice::default()).map_err(|error| error.to_string()).and_then(|image| {
            let built = rootfs::build::build(&image, &file, &options, &Quiet);
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
pub(crate) fn peak(layout: &Layout) -> (u64, String) {
    peak_with(layout, Limits::MEMORY)
}

/// The same, with so many bytes of memory allowed.
pub(crate) fn peak_with(layout: &Layout, memory: u64) -> (u64, String) {
    peak_at(layout, memory, None)
}

/// The same, with the file kept where it is said.
fn peak_at(layout: &Layout, memory: u64, kept: Option<&Path>) -> (u64, String) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["memory::child", "--exact", "--nocapture"])
        .env(IMAGE, layout.path())
        .env(MEMORY, memory.to_string());
    if let Some(kept) = kept {
        child.env(KEPT, kept);
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("peak=")).unwrap_or_else(|| panic!("{text}"));
    let (kib, outcome) = line.split_once(" kB outcome=").unwrap();
    (kib.trim().parse().unwrap(), outcome.to_owned())
}

pub(crate) fn gzip_of(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, Digest) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut plain = Vec::new();
    for piece in pieces {
        packed.write_all(&piece).unwrap();
        plain.extend(piece);
    }
    (packed.finish().unwrap(), Digest::of(&plain))
}

pub(crate) fn packed(packed: &[u8], plain: Digest) -> Layout {
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

pub(crate) const MIB: u64 = 1024;

#[test]
fn an_image_of_a_hundred_thousand_files() {
    let (kib, outcome) = peak(&names(100_000));
    assert!(outcome.starts_with("built"), "{outcome}");
    assert!(kib < 150 * MIB, "{kib} KiB");
}

#[test]
#[ignore = "corpus tier: half a GiB of headers; --nocapture shows the figure"]
fn an_image_of_nearly_a_million_files() {
    let (kib, outcome) = peak_with(&names(990_000), 2048 << 20);
    assert!(outcome.starts_with("built"), "{outcome}");
    writeln!(std::io::stderr(), "990000 names: {} MiB, {outcome}", kib / MIB).unwrap();
    assert!(kib < 1100 * MIB, "{kib} KiB");
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

/// A file of more than 4 GiB that is full of data, so that every block of it is written: its bytes arrive, and memory stays.
#[test]
#[ignore = "corpus tier: writes 4 GiB"]
fn a_file_of_more_than_four_gibibytes() {
    // No two blocks of a piece are the same, so that one in the wrong place shows.
    let piece: Vec<u8> = (0..8_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let (times, size) = (129_usize, 129_u64 * (32 << 20));
    assert!(size > 4 << 30);
    let head = Archive::new().block(header(b'0', "full", size)).0;
    let pieces = || {
        std::iter::once(head.as_slice())
            .chain(std::iter::repeat_n(piece.as_slice(), times))
            .chain(std::iter::once(&[0; 1024][..]))
    };
    // A window of the size of a piece keeps the layer small.
    let mut packed_bytes = zstd::Encoder::new(Vec::new(), 1).unwrap();
    packed_bytes.long_distance_matching(true).unwrap();
    packed_bytes.window_log(26).unwrap();
    pieces().try_for_each(|piece| packed_bytes.write_all(piece)).unwrap();
    let layout = packed(&packed_bytes.finish().unwrap(), digest_of(pieces()));
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let kept = folder.path().join("rootfs.ext4");
    let (kib, outcome) = peak_at(&layout, 1 << 30, Some(&kept));
    assert!(outcome.starts_with("built"), "{outcome}");
    // The window that it is allowed, and what the test of large files allows.
    assert!(kib < 128 * MIB, "{kib} KiB");
    let tool = |name: &str| {
        let mut command = Command::new(name);
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        command
    };
    let checked = tool("e2fsck").arg("-fn").arg(&kept).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let mut dump =
        tool("debugfs").args(["-R", "cat /full"]).arg(&kept).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = dump.stdout.take().unwrap();
    let mut found = vec![0; piece.len()];
    for number in 0..times {
        out.read_exact(&mut found).unwrap();
        assert!(found == piece, "piece {number}");
    }
    assert_eq!(out.read(&mut found).unwrap(), 0);
    assert!(dump.wait().unwrap().success());
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
        assert!(outcome.contains("packed with a window of more than 16 MiB"), "{outcome}");
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
    assert!(outcome.contains("take more memory than the 150 MiB that are allowed"), "{outcome}");
    assert!(kib < 150 * MIB, "{kib} KiB");
}
