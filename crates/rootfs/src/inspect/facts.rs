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
        let wanted = facts.wanted(tree, programs, texts);
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
            if wanted.len() < MOST_FILES {
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
            Head::Script(line.split(|&byte| byte == b'\n').next().unwrap_or_default().into())
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
            if self.names + size > MOST_NAMES {
                *dynamic = elf::Dynamic::default();
            } else {
                self.names += size;
            }
        }
        elf
    }
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Head,
    Text,
}

/// The content of a file that is stored as a whole.
fn content(node: &Node) -> Option<&Content> {
    match &node.kind {
        NodeKind::File(content) if content.data.is_none() => Some(content),
        _ => None,
    }
}

/// Whether it is a program or library by its mode or name.
fn is_candidate(path: &[u8], node: &Node) -> bool {
    node.meta.mode & 0o111 != 0 || is_library(path)
}

/// `libc.so`, `libc.so.6`, `_ssl.cpython-311.so`
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}
