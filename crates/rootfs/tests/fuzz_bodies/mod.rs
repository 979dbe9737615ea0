//! What must hold for any bytes at all: run by `cargo fuzz` (`fuzz/`) for as long as one likes, and by proptest in every
//! test run for a bounded number of cases.

use rootfs::layer::{Budget, contents, scan};
use rootfs::merge::apply;
use rootfs::source::{Choice, Image};
use rootfs::{EntryKind, Limits, NodeKind, Tree};

use crate::archive::Archive;
use crate::image::Layout;

/// Small enough that reaching them costs nothing.
pub(crate) const LIMITS: Limits = Limits {
    entries: 500,
    bytes: 1 << 20,
    apparent: 1 << 30,
    header: 8 << 10,
    metadata: 64 << 10,
    layers: 8,
    memory: Limits::LEAST_MEMORY,
};

/// Any bytes as a layer: both ways of reading it agree, and what it makes is within its bounds.
pub(crate) fn layer(bytes: &[u8]) {
    let scanned = scan(0, bytes, &mut Budget::new(LIMITS));
    let mut stored = std::collections::BTreeMap::new();
    let read = contents(0, bytes, &LIMITS, |number, reader| {
        stored.insert(number, std::io::copy(reader, &mut std::io::sink())?);
        Ok(())
    });
    let layer = match scanned {
        Ok(layer) => layer,
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("layer 1, ") && !text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    assert_eq!(read.unwrap_or_else(|error| panic!("{error}")), layer.diff_id);
    assert!(layer.bytes <= LIMITS.bytes && layer.entries.len() <= LIMITS.entries);
    for entry in &layer.entries {
        assert!(entry.path.names().all(|name| !matches!(name, b"" | b"." | b"..")));
        if let EntryKind::File(file) = &entry.kind {
            let data = file.data.as_ref();
            let expected = data.map_or(file.size, |data| data.iter().map(|part| part.len).sum());
            assert_eq!(stored[&file.entry], expected, "{entry:?}");
        }
    }
    let mut tree = Tree::new();
    if apply(&mut tree, &layer.entries, &LIMITS).is_ok() {
        let mut paths = 0;
        tree.walk(|path, _, _| {
            assert!(path.len() <= rootfs::MAX_PATH);
            paths += path.len() as u64;
        });
        assert!(tree.len() <= LIMITS.entries && paths <= LIMITS.metadata);
    }
}

/// What a number of bytes says to do: names from a small set meet often, and then layers contradict each other.
struct Steps<'a>(std::slice::Iter<'a, u8>);

impl Steps<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    fn path(&mut self) -> Option<String> {
        const NAMES: [&str; 8] = ["a", "b", "c", "lost+found", "lib", "é", ".wh.a", ".wh..wh..opq"];
        let shape = self.byte()?;
        let names: Option<Vec<_>> =
            (0..=shape % 4).map(|_| Some(NAMES[usize::from(self.byte()? % 8)])).collect();
        Some(format!("{}{}", if shape & 0x80 == 0 { "" } else { "/" }, names?.join("/")))
    }

    /// One entry, of which the content says where it is.
    fn entry(&mut self, archive: Archive, layer: usize, entry: usize) -> Option<Archive> {
        let kind = self.byte()?;
        let path = self.path()?;
        Some(match kind % 9 {
            0 | 1 => archive.file(&path, &content(layer, entry, kind)),
            2 => archive.dir(&path),
            3 => archive.symlink(&path, &self.path()?),
            4 => archive.symlink(&path, &format!("../{}", self.path()?)),
            5 => archive.hard_link(&path, &self.path()?),
            6 => archive.entry(b'3' + kind / 9 % 2, &path),
            7 => archive.pax(&[("SCHILY.xattr.user.a", &[kind; 40])]).dir(&path),
            _ => {
                let data = content(layer, entry, kind);
                let map = format!("5000,{}", data.len());
                let records = [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", b"70000")];
                archive.pax(&records).file(&path, &data)
            }
        })
    }
}

/// Told by its kind, some of it is longer than a block.
fn content(layer: usize, entry: usize, kind: u8) -> Vec<u8> {
    format!("{layer}:{entry}:").repeat(1 + usize::from(kind) * 8).into_bytes()
}

/// Bytes as the entries of a few layers: refused with a word on why, or a file system in which every file is where the
/// tree has it, with its own content, and nothing is wrong.
pub(crate) fn image(bytes: &[u8]) {
    let mut steps = Steps(bytes.iter());
    let mut layers = Vec::new();
    let count = steps.byte().unwrap_or_default() % 3 + 1;
    for layer in 0..usize::from(count) {
        let mut archive = Archive::new();
        for entry in 0..usize::from(steps.byte().unwrap_or_default() % 12) {
            let Some(more) = steps.entry(archive.clone(), layer, entry) else { break };
            archive = more;
        }
        layers.push(archive.end());
    }
    let layout = Layout::of(&layers);
    let image = layout.open().unwrap();
    let Ok(tree) = rootfs::build::tree(&image, &LIMITS) else {
        assert!(layout.build(LIMITS).is_err());
        return;
    };
    if let Some(own) = tree.child(Tree::ROOT, b"lost+found")
        && tree.children(own).is_none_or(|names| !names.is_empty())
    {
        let error = layout.build(LIMITS).unwrap_err();
        assert!(error.to_string().starts_with("/lost+found: "), "{error}");
        return;
    }
    let fs = layout.built();
    tree.walk(|path, _, node| {
        let path = format!("/{}", String::from_utf8_lossy(path));
        // The file system's own folder takes the place of the image's.
        if path == "/lost+found" {
            return;
        }
        let inode = fs.resolve(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        if let NodeKind::File(file) = &node.kind {
            let found = fs.read_file(inode).unwrap();
            assert_eq!(found.len() as u64, file.size, "{path}");
            let start = if file.data.is_some() { 5000 } else { 0 };
            let tag = format!("{}:{}:", file.layer, file.entry);
            assert!(found[start..].starts_with(tag.as_bytes()), "{path} is not {tag}");
            assert!(found[..start].iter().all(|&byte| byte == 0), "{path} has no hole");
        }
    });
}

/// Bytes as one of the documents that make an image, or as the archive that they are in.
pub(crate) fn documents(bytes: &[u8]) {
    let [which, document @ ..] = bytes else { return };
    let layout = Layout::of(&[Archive::new().file("x", b"1").end()]);
    let path = match which % 4 {
        0 => layout.path().join("index.json"),
        1 => {
            std::fs::remove_file(layout.path().join("index.json")).unwrap();
            layout.path().join("manifest.json")
        }
        2 => layout.beside().join("image.tar"),
        _ => {
            drop(serde_json::from_slice::<rootfs::ImageConfig>(document));
            return;
        }
    };
    std::fs::write(&path, document).unwrap();
    let place = if which % 4 == 2 { path } else { layout.path() };
    match Image::open(&place, &Choice::default()) {
        Ok(image) => drop(rootfs::build::tree(&image, &LIMITS)),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 20_000, "{text:?}");
        }
    }
}
