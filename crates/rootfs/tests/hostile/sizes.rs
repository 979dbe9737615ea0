//! Sizes that lie, archives that end too soon or too late, bombs, and headers without end.

use std::io::Write as _;

use rootfs::build::BuildError;
use rootfs::{Digest, Limits};
use rstest::rstest;

use super::archive::{Archive, header, with_field};
use super::image::Layout;
use super::refused;

fn small() -> Limits {
    Limits { bytes: 4 << 20, ..Limits::default() }
}

#[rstest]
#[case::larger_than_the_layer(Archive::new().block(header(b'0', "x", 1 << 30)).bytes(b"!"), "ends in the middle")]
#[case::by_the_extended_header(Archive::new().pax(&[("size", b"99999")]).file("x", b"abc"), "ends in the middle")]
// Three bytes by its header and none by its extended header: what was content is read as a header.
#[case::smaller_by_the_extended_header(
    Archive::new().pax(&[("size", b"0")]).file("x", b"abc"), "checksum is wrong"
)]
#[case::long_name_without_end(Archive::new().block(header(b'L', "l", 1 << 32)), "1048576 bytes")]
#[case::long_link_without_end(Archive::new().block(header(b'K', "l", 1 << 32)), "1048576 bytes")]
#[case::extended_header_without_end(Archive::new().block(header(b'x', "l", 1 << 32)), "1048576 bytes")]
#[case::global_header_without_end(Archive::new().block(header(b'g', "l", 1 << 32)), "ends in the middle")]
#[case::record_longer_than_its_header(Archive::new().raw(b'x', b"99 path=a\n").file("x", b""), "malformed")]
#[case::record_without_length(Archive::new().raw(b'x', b"path=a\n").file("x", b""), "malformed")]
#[case::record_of_length_nothing(Archive::new().raw(b'x', b"0 path=a\n").file("x", b""), "malformed")]
#[case::record_of_a_length_beyond_all(
    Archive::new().raw(b'x', b"18446744073709551615 path=a\n").file("x", b""), "malformed"
)]
#[case::attribute_too_large(Archive::new().pax(&[("SCHILY.xattr.user.a", &[0; 5000])]).file("x", b""), "4064 bytes")]
#[case::attribute_without_name(Archive::new().pax(&[("SCHILY.xattr.", b"a")]).file("x", b""), "attribute")]
#[case::attribute_with_a_nul(Archive::new().pax(&[("SCHILY.xattr.user.\0", b"a")]).file("x", b""), "attribute")]
fn is_refused(#[case] archive: Archive, #[case] why: &str) {
    let archive = Archive::new().dir("first").bytes(&archive.0);
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains(why), "{text}");
    assert!(text.contains("first") || text.contains('x'), "{text}");
}

/// Before one entry there may be any number of headers: together they have no more room than one.
#[rstest]
#[case::attributes(|number: usize| Archive::new().pax(&[(&format!("SCHILY.xattr.user.{number}"), &[b'x'; 3000])]))]
#[case::parts(|_| Archive::new().pax(&[("GNU.sparse.offset", b"0"), ("GNU.sparse.numbytes", b"0")]).pax(&[("comment", &[0; 2000])]))]
#[case::long_names(|_| Archive::new().raw(b'L', &[b'n'; 3000]))]
fn headers_before_an_entry_add_up(#[case] one: fn(usize) -> Archive) {
    let limits = Limits { header: 64 << 10, ..Limits::default() };
    let archive = (0..40).fold(Archive::new().dir("first"), |archive, number| archive.bytes(&one(number).0));
    let text = refused(&[archive.file("x", b"").end()], limits);
    assert!(text.contains("its extended headers have more than 65536 bytes"), "{text}");
}

/// Global records change nothing, as for the runtimes; so they cannot pile up either.
#[test]
fn global_records_are_passed_over() {
    let mut records = Archive::new();
    for _ in 0..100 {
        records = records.pax(&[("path", b"../../evil"), ("uid", b"1"), ("size", b"7")]);
    }
    for block in records.0.chunks_mut(512).step_by(2) {
        let global = with_field((&*block).try_into().unwrap(), 156, b"g");
        block.copy_from_slice(&Archive::new().block(global).0);
    }
    let fs = Layout::of(&[Archive::new().bytes(&records.0).file("x", b"abc").end()]).built();
    assert_eq!(super::image::content(&fs, "/x"), b"abc");
}

/// A long name twice: the last one counts. A member's own name, when there is another, is no matter.
#[test]
fn of_several_long_names_the_last_counts() {
    let archive = Archive::new().raw(b'L', b"../no").raw(b'L', b"yes").file("no", b"abc");
    let fs = Layout::of(&[archive.end()]).built();
    assert_eq!(super::image::content(&fs, "/yes"), b"abc");
}

#[test]
fn a_layer_that_is_cut_anywhere_is_refused() {
    let whole = Archive::new()
        .dir("d")
        .pax(&[("SCHILY.xattr.user.a", b"value")])
        .file("d/file", &[7; 1500])
        .file(&"long/".repeat(60), b"")
        .symlink("link", &"t".repeat(300))
        .file("last", &[1; 513])
        .end();
    let layout = Layout::of(std::slice::from_ref(&whole));
    let blob = layout.blob_path(Digest::of(&whole));
    let boundaries = (0..whole.len()).step_by(512).flat_map(|at| [at, at + 1, at + 511]);
    for cut in boundaries.filter(|cut| *cut < whole.len()) {
        std::fs::write(&blob, &whole[..cut]).unwrap();
        let error = layout.build(Limits::default()).unwrap_err();
        assert!(
            matches!(error, BuildError::Layer(_) | BuildError::Damaged { layer: 0, .. }),
            "{cut}: {error}"
        );
        assert!(error.to_string().starts_with("layer 1"), "{error}");
        assert!(!layout.out().exists());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// 64 MiB of zeros as a file, as members that are joined, and behind the end of the archive, packed in both ways.
#[rstest]
#[case::a_file(Archive::new().dir("first").file("bomb", &vec![0; 64 << 20]).end())]
#[case::behind_the_end([Archive::new().dir("first").end(), vec![0; 64 << 20]].concat())]
fn a_bomb_ends_at_its_bound(#[case] plain: Vec<u8>) {
    let pieces: Vec<u8> = plain.chunks(1 << 20).flat_map(gzip).collect();
    let frames: Vec<u8> =
        plain.chunks(1 << 20).flat_map(|piece| zstd::encode_all(piece, 1).unwrap()).collect();
    for packed in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap(), pieces, frames] {
        assert!(packed.len() < 200_000);
        let layout = Layout::new();
        let image = layout.packed_image(std::slice::from_ref(&packed), &[Digest::of(&plain)]);
        layout.index(&[image]);
        let text = layout.build(small()).unwrap_err().to_string();
        assert!(text.starts_with("layer 1, ") && text.contains("more than 4194304 bytes"), "{text}");
        // It is the size that is refused, and nothing else.
        layout.build(Limits::default()).unwrap();
    }
}

/// Nested packing is unpacked once and no further.
#[test]
fn what_is_packed_twice_is_no_layer() {
    let text = refused(&[gzip(&gzip(&Archive::new().dir("d").end()))], Limits::default());
    assert!(text.contains("no archive") || text.contains("middle"), "{text}");
}

fn sparse(map: &[u8], size: &[u8], data: &[u8]) -> Vec<u8> {
    Archive::new()
        .pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size), ("GNU.sparse.name", b"s")])
        .file("x", data)
        .end()
}

#[rstest]
#[case::overlap(b"0,2,1,1", b"20", b"abc", "map of a sparse file")]
#[case::backwards(b"10,1,0,2", b"20", b"abc", "map of a sparse file")]
#[case::beyond_the_end(b"19,2", b"20", b"ab", "map of a sparse file")]
#[case::beyond_all(
    b"18446744073709551615,2",
    b"18446744073709551615",
    b"ab",
    "more than 17592186040320 bytes"
)]
#[case::larger_than_ext4(b"0,2", b"17592186044416", b"ab", "more than 17592186040320 bytes")]
#[case::less_data(b"0,3", b"20", b"ab", "map of a sparse file")]
#[case::odd(b"0,3,4", b"20", b"abc", "extended header is malformed")]
fn a_map_that_lies_is_refused(
    #[case] map: &[u8],
    #[case] size: &[u8],
    #[case] data: &[u8],
    #[case] why: &str,
) {
    let text = refused(&[sparse(map, size, data)], Limits::default());
    assert!(text.contains(why), "{text}");
}

/// A byte in each of many blocks: small to send, large on the disk.
#[test]
fn torn_files_count_for_the_blocks_that_they_touch() {
    let map: Vec<String> = (0..2000).map(|number| format!("{},1", number * 8192)).collect();
    let text = refused(&[sparse(map.join(",").as_bytes(), b"99999999", &[1; 2000])], small());
    assert!(text.contains("unpacks to more than 4194304 bytes"), "{text}");
}

/// Holes take no room, but there is an end to what may be claimed.
#[test]
fn holes_are_bounded_as_well() {
    let limits = Limits { apparent: 1 << 40, ..Limits::default() };
    let text = refused(&[sparse(b"0,1", b"2199023255552", b"a")], limits);
    assert!(text.contains("claim to have more than 1099511627776 bytes"), "{text}");
    // A file of a TiB with a byte in it is a small file system.
    let layout = Layout::of(&[sparse(b"0,1", b"1099511627776", b"a")]);
    let built = layout.build(Limits::default()).unwrap();
    assert!(built.size < 64 << 20, "{built:?}");
}

#[test]
fn many_parts_have_no_more_room_than_a_header() {
    let map: Vec<String> = (0..200_000).map(|number| format!("{},1", number * 2)).collect();
    let text = refused(&[sparse(map.join(",").as_bytes(), b"99999999", &[1; 200_000])], Limits::default());
    assert!(text.contains("1048576 bytes"), "{text}");
    // A count without the parts that it promises.
    let archive = Archive::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9"),
            ("GNU.sparse.name", b"s"),
        ])
        .file("x", b"4000000000000000000\n0\n1\n");
    let text = refused(&[archive.end()], Limits::default());
    assert!(text.contains("ends in the middle"), "{text}");
}
