//! What is to be in a file system, as an archive of one layer and as what should be seen of it.

use std::collections::BTreeMap;

use rootfs::Digest;
use rootfs::source::{Choice, Image, host_architecture};
use serde_json::json;

use crate::seen::{Seen, What};

/// Sparse files of so many bytes or more are not read as a whole.
pub(crate) const READ: u64 = 1 << 24;

/// One entry of the layer.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Folder,
    File(Vec<u8>),
    /// A size, and one piece of data at an offset; the rest are holes.
    Sparse(u64, u64, Vec<u8>),
    Link(Vec<u8>),
    HardLink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

pub(crate) fn item(path: impl AsRef<[u8]>, kind: Kind) -> Item {
    let mode = if matches!(kind, Kind::Link(_)) { 0o777 } else { 0o640 };
    Item { path: path.as_ref().to_vec(), kind, mode, owner: (0, 0), mtime: (1_000_000, 0), xattrs: vec![] }
}

pub(crate) fn folder(path: impl AsRef<[u8]>) -> Item {
    Item { mode: 0o755, ..item(path, Kind::Folder) }
}

pub(crate) fn file(path: impl AsRef<[u8]>, content: &[u8]) -> Item {
    item(path, Kind::File(content.to_vec()))
}

fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let len = (body + 1..).find(|len| body + len.to_string().len() == *len).unwrap();
    records.extend([format!("{len} {key}=").as_bytes(), value, b"\n"].concat());
}

fn append(archive: &mut tar::Builder<Vec<u8>>, kind: u8, bytes: &[u8], device: (u32, u32), mode: u32) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_path("x").unwrap();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_device_major(device.0).unwrap();
    header.set_device_minor(device.1).unwrap();
    header.set_cksum();
    archive.append(&header, bytes).unwrap();
}

pub(crate) fn layer(items: &[Item]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for item in items {
        let mut pax = Vec::new();
        record(&mut pax, "path", if item.path.is_empty() { b"." } else { &item.path });
        record(&mut pax, "uid", item.owner.0.to_string().as_bytes());
        record(&mut pax, "gid", item.owner.1.to_string().as_bytes());
        // A time before 1970 is a negative number with a fraction: -1.25 is a quarter before -1.
        let (seconds, nanos) = item.mtime;
        let time = match seconds {
            0.. => format!("{seconds}.{nanos:09}"),
            _ if nanos == 0 => format!("{seconds}"),
            _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        };
        record(&mut pax, "mtime", time.as_bytes());
        for (name, value) in &item.xattrs {
            record(&mut pax, &format!("SCHILY.xattr.{name}"), value);
        }
        let mut device = (0, 0);
        let mut bytes: &[u8] = b"";
        let kind = match &item.kind {
            Kind::Folder => b'5',
            Kind::File(content) => {
                bytes = content;
                b'0'
            }
            Kind::Sparse(size, offset, data) => {
                record(&mut pax, "GNU.sparse.size", size.to_string().as_bytes());
                record(&mut pax, "GNU.sparse.map", format!("{offset},{}", data.len()).as_bytes());
                bytes = data;
                b'0'
            }
            Kind::Link(target) => {
                record(&mut pax, "linkpath", target);
                b'2'
            }
            Kind::HardLink(target) => {
                record(&mut pax, "linkpath", target);
                b'1'
            }
            Kind::Char(major, minor) => {
                device = (*major, *minor);
                b'3'
            }
            Kind::Block(major, minor) => {
                device = (*major, *minor);
                b'4'
            }
            Kind::Fifo => b'6',
        };
        append(&mut archive, b'x', &pax, (0, 0), 0);
        append(&mut archive, kind, bytes, device, item.mode);
    }
    archive.into_inner().unwrap()
}

/// An image of one layer, in a layout that is there as long as the folder.
pub(crate) fn image(folder: &std::path::Path, layer: &[u8]) -> Image {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"digest": digest.to_string(), "size": bytes.len()})
    };
    let config = json!({"architecture": host_architecture(), "os": "linux", "config": {"Entrypoint": ["/run"]},
                        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]}});
    let mut config = blob(config.to_string().as_bytes());
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [blob(layer)]});
    let mut manifest = blob(manifest.to_string().as_bytes());
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    std::fs::write(
        folder.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
    )
    .unwrap();
    Image::open(folder, &Choice::default()).unwrap()
}

/// What should be seen of the items. Every folder must be among them, and nothing twice.
pub(crate) fn expected(items: &[Item]) -> Seen {
    let mut seen: Seen = BTreeMap::new();
    for item in items {
        let permissions = item.mode & 0o7777;
        let (kind, what) = match &item.kind {
            Kind::HardLink(target) => {
                let mut what = seen[target].clone();
                what.first = seen[target].first.clone();
                seen.insert(item.path.clone(), what);
                continue;
            }
            Kind::Folder => (0o040_000, What::Nothing),
            Kind::File(content) => (0o100_000, What::Content(content.len() as u64, Digest::of(content))),
            Kind::Sparse(size @ ..READ, offset, data) => {
                let mut whole = vec![0; *size as usize];
                whole[*offset as usize..][..data.len()].copy_from_slice(data);
                (0o100_000, What::Content(*size, Digest::of(&whole)))
            }
            Kind::Sparse(size, offset, data) => {
                (0o100_000, What::Piece(*size, *offset, Digest::of(data), data.len()))
            }
            Kind::Link(target) => (0o120_000, What::Target(target.clone())),
            Kind::Char(major, minor) => (0o020_000, What::Device(*major, *minor)),
            Kind::Block(major, minor) => (0o060_000, What::Device(*major, *minor)),
            Kind::Fifo => (0o010_000, What::Nothing),
        };
        seen.insert(
            item.path.clone(),
            crate::seen::Stat {
                mode: kind | permissions,
                owner: item.owner,
                mtime: item.mtime,
                xattrs: item.xattrs.iter().cloned().collect(),
                first: item.path.clone(),
                what,
            },
        );
    }
    // The first name in the order of names stands for all of an inode.
    let mut firsts: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (path, stat) in &seen {
        firsts.entry(stat.first.clone()).or_insert_with(|| path.clone());
    }
    for stat in seen.values_mut() {
        stat.first = firsts[&stat.first].clone();
    }
    seen
}
