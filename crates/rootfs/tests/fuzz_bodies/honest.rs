//! Honest archives: what mutations begin with.

use std::io::Write as _;

use crate::archive::Archive;

/// Layers that have something of everything, plain and packed.
pub(crate) fn layers() -> Vec<Vec<u8>> {
    let records: [(&str, &[u8]); 4] = [
        ("path", b"usr/bin/a-name"),
        ("mtime", b"1700000000.123456789"),
        ("uid", b"100000"),
        ("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02\x20\x0a\x00\x00"),
    ];
    let plain = Archive::new()
        .dir("usr/bin/")
        .pax(&records)
        .file("short", b"content")
        .file(&"long/".repeat(40), b"")
        .symlink("link", &"t".repeat(150))
        .hard_link("twin", "usr/bin/a-name")
        .entry(b'3', "null")
        .entry(b'6', "pipe")
        .file("a/.wh.gone", b"")
        .file("a/.wh..wh..opq", b"")
        .end();
    let sparse = Archive::new()
        .pax(&[("GNU.sparse.map", b"0,2,9000,1"), ("GNU.sparse.size", b"20000"), ("GNU.sparse.name", b"s")])
        .file("x", b"abc")
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9000")])
        .file("y", &[b"1\n4096\n3\n".as_slice(), &[0; 503], b"abc"].concat())
        .end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    vec![gzip.finish().unwrap(), zstd, sparse, plain]
}
