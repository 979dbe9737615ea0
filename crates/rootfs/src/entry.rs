//! What a layer says of one name.

use crate::EntryPath;

/// Owner, mode, times and attributes of an inode.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// The permission bits, with setuid, setgid and sticky; no file type.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content changed last.
    pub mtime: Time,
    /// Extended attributes by their whole name (`security.capability`), sorted by it.
    pub xattrs: Xattrs,
}

impl Meta {
    /// Bytes of the attributes, names and values.
    pub(crate) fn bytes(&self) -> u64 {
        let xattrs = self.xattrs.iter().flat_map(|xattrs| xattrs.iter());
        xattrs.map(|(name, value)| (name.len() + value.len()) as u64).sum()
    }
}

/// Extended attributes; most inodes have none, and none takes one word.
pub type Xattrs = Option<Box<Vec<(Box<[u8]>, Box<[u8]>)>>>;

/// A time since 1970, before it with negative seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds after those, below 1 000 000 000.
    pub nanos: u32,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: EntryPath,
    /// Its metadata; of no meaning for a hard link.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file, whose content is that of the entry with this number in its layer.
    File(Content),
    /// Another name of something.
    HardLink(EntryPath),
    /// A symbolic link to these bytes.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// Hides what the layers below have under this path.
    Whiteout,
    /// Hides everything that the layers below have in this folder.
    Opaque,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The layer, from 0.
    pub layer: u32,
    /// The number of its entry within the layer.
    pub entry: u32,
    /// How many bytes, holes included.
    pub size: u64,
    /// The parts that have data, in order and disjoint; nothing when all of it has.
    pub data: Option<Box<[Extent]>>,
}

impl Content {
    /// Bytes of the map of a sparse file.
    pub(crate) fn map_bytes(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| size_of_val::<[Extent]>(data) as u64)
    }

    /// Whether there are bytes to be stored.
    pub(crate) fn has_data(&self) -> bool {
        self.data.as_ref().map_or(self.size > 0, |map| !map.is_empty())
    }
}

/// A part of a sparse file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Its first byte.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// A device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The unit.
    pub minor: u32,
}
