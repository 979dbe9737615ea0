//! What the content of an image's files says: one more pass over the layers that have something to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::elf::{self, Elf};
use crate::build::BuildError;
use crate::layer::contents;
use crate::source::Image;
use crate::{Content, Limits, Node, NodeId, NodeKind, Tree};

/// The most programs and libraries that are looked at.
const MOST_FILES: usize = 200_000;
/// The most bytes of names that are kept of all of them.
const MOST_NAMES: usize = 32 << 20;
/// How much of a file the kernel looks at to know what it is (`BINPRM_BUF_SIZE`, linux/binfmts.h).
const HEAD: u64 = 256;
/// The most bytes of a text, such as `/etc/passwd`.
const MOST_TEXT: u64 = 1 << 20;

/// What a program is, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Elf(Elf),
    /// An ELF file that is none after all.
    Damaged,
    /// A text for an interpreter: its first line without `#!`.
    Script(Box<[u8]>),
    /// What the kernel does not run.
    Other,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    heads: BTreeMap<NodeId, Head>,
    texts: BTreeMap<NodeId, Vec<u8>>,
    /// How many more programs and libraries there are than are looked at.
    pub(super) left_out: usize,
    names: usize,
}

impl Facts {
    /// What a program or library is; nothing when it was not looked at.
    pub(super) fn head(&self, id: NodeId) -> Option<&Head> {
        self.heads.get(&id)
    }

    pub(super) fn elf(&self, id: NodeId) -> Option<&Elf> {
        match self.heads.get(&id) {
            Some(Head::Elf(elf)) => Some(elf),
            _ => None,
        }
    }

    /// A text; nothing when it was not asked for.
    pub(super) fn text(&self, id: NodeId) -> Option<&[u8]> {
        self.texts.get(&id).map(Vec::as_slice)
    }

    /// Reads the heads of `programs` and of everything else that looks like a program or library, and `texts`.
    pub(super) fn gather(
        image: &Image,
        tree: &Tree,
        limits: &Limits,
        programs: &[NodeId],
        texts: &[NodeId],
    ) -> Result<Self, BuildError> {
        let mut facts = Self::default();
        let wanted = facts.wanted(tree, programs, texts, MOST_FILES);
        let layers: BTreeSet<u32> = wanted.keys().map(|&(layer, _)| layer).collect();
        for layer in layers {
            let number = layer as usize;
            let opened = image.layer(number).map_err(|why| BuildError::Read { layer: number, why })?;
            let found = contents(layer, opened, limits, |entry, reader| match wanted.get(&(layer, entry)) {
                Some(&(id, Want::Text)) => facts.read_text(id, reader),
                Some(&(id, Want::Head)) => facts.read_head(id, reader),
                None => Ok(()),
            })?;
            if let Some(&expected) = image.config.rootfs.diff_ids.get(number).filter(|&&id| id != found) {
                return Err(BuildError::Damaged { layer: number, expected, found });
            }
        }
        Ok(facts)
    }

    fn wanted(
        &mut self,
        tree: &Tree,
        programs: &[NodeId],
        texts: &[NodeId],
        most: usize,
    ) -> BTreeMap<(u32, u32), (NodeId, Want)> {
        let mut wanted = BTreeMap::new();
        let mut add = |id: NodeId, want| {
            if let Some(content) = content(tree.node(id)) {
                wanted.insert((content.layer, content.entry), (id, want));
            }
        };
        programs.iter().for_each(|&id| add(id, Want::Head));
        texts.iter().for_each(|&id| add(id, Want::Text));
        tree.walk(|path, id, node| {
            let Some(content) = content(node).filter(|_| is_candidate(path, node)) else { return };
            let key = (content.layer, content.entry);
            if wanted.len() < most {
                wanted.entry(key).or_insert((id, Want::Head));
            } else if !wanted.contains_key(&key) {
                self.left_out += 1;
            }
        });
        wanted
    }

    fn read_text(&mut self, id: NodeId, reader: &mut dyn Read) -> io::Result<()> {
        let mut text = Vec::new();
        reader.take(MOST_TEXT).read_to_end(&mut text)?;
        self.texts.insert(id, text);
        Ok(())
    }

    fn read_head(&mut self, id: NodeId, reader: &mut dyn Read) -> io::Result<()> {
        let mut head = Vec::new();
        (&mut *reader).take(HEAD).read_to_end(&mut head)?;
        let head = if head.starts_with(b"\x7fELF") {
            match elf::read(&mut head.chain(reader))? {
                Some(elf) => Head::Elf(self.bounded(elf)),
                None => Head::Damaged,
            }
        } else if let Some(line) = head.strip_prefix(b"#!") {
            let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
            if !self.keeps(line.len()) {
                self.left_out += 1;
                return Ok(());
            }
            Head::Script(line.into())
        } else {
            Head::Other
        };
        self.heads.insert(id, head);
        Ok(())
    }

    /// Without the names that are too many to keep.
    fn bounded(&mut self, mut elf: Elf) -> Elf {
        if let Some(dynamic) = &mut elf.dynamic {
            let lists = dynamic.rpath.iter().chain(&dynamic.runpath).chain(&dynamic.needed);
            let size: usize = lists.map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
            if !self.keeps(size) {
                *dynamic = elf::Dynamic::default();
            }
        }
        elf
    }

    /// Whether so many more bytes may be kept.
    fn keeps(&mut self, size: usize) -> bool {
        let fits = self.names + size <= MOST_NAMES;
        self.names += if fits { size } else { 0 };
        fits
    }
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Head,
    Text,
}

/// The content of a file that is stored as a whole. What is empty has nothing to look at, but is looked at when it is to
/// start.
fn content(node: &Node) -> Option<&Content> {
    match &node.kind {
        NodeKind::File(content) if content.data.is_none() => Some(content),
        _ => None,
    }
}

/// Whether it is a program or library by its mode or name.
fn is_candidate(path: &[u8], node: &Node) -> bool {
    let is_empty = matches!(&node.kind, NodeKind::File(content) if content.size == 0);
    !is_empty && (node.meta.mode & 0o111 != 0 || is_library(path))
}

/// `libc.so`, `libc.so.6`, `_ssl.cpython-311.so`
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::apply;
    use crate::{Entry, EntryKind, EntryPath, Meta};

    #[test]
    fn what_is_too_much_to_look_at_is_counted() {
        let entry = |number: u32, path: &str, mode: u16, size: u64| Entry {
            path: EntryPath::parse(path.as_bytes()).unwrap(),
            meta: Meta { mode, ..Meta::default() },
            kind: EntryKind::File(Content { layer: 0, entry: number, size, data: None }),
        };
        let entries = [
            entry(0, "a", 0o755, 9),
            entry(1, "b", 0o644, 9),
            entry(2, "empty", 0o755, 0),
            entry(3, "libc.so.6", 0o644, 9),
            entry(4, "text", 0o644, 9),
            entry(5, "z", 0o100, 9),
        ];
        let mut tree = Tree::new();
        apply(&mut tree, &entries, &Limits::default()).unwrap();
        let text = tree.child(Tree::ROOT, b"text").unwrap();
        let wanted = |most| {
            let mut facts = Facts::default();
            let wanted = facts.wanted(&tree, &[], &[text], most);
            (wanted.into_keys().map(|(_, entry)| entry).collect::<Vec<_>>(), facts.left_out)
        };
        assert_eq!(wanted(10), (vec![0, 3, 4, 5], 0));
        assert_eq!(wanted(2), (vec![0, 4], 2), "what is needed comes first");
    }
}
