//! A Docker or OCI image to a bootable ext4 file: no root, no mount, no staged tree, and the same bytes every time.
//!
//! ```text
//!   source   what `docker save` writes, or an OCI layout: named blobs with digests
//!   layer    one layer's archive: entries in bounded memory, content on demand
//!   merge    layers with whiteouts, links and replacements: one tree of names
//!   ext4     the tree laid out, everything but content written, then the content streamed to its place
//!   build    all of it for one image
//!   store    what was converted, kept and shared
//!   inspect  whether an image boots, and what it is like
//! ```
//!
//! Nothing here knows the service. What comes out of an archive is never used as a path of this host: the tree is in
//! memory, and the only file that is written is the one that the caller names.

pub mod build;
mod config;
mod digest;
mod entry;
pub mod ext4;
mod image_file;
mod init;
pub mod inspect;
pub mod layer;
mod limits;
mod memory;
pub mod merge;
mod path;
mod progress;
pub mod source;
mod space;
pub mod store;
mod tree;
pub mod writer;

pub use config::{Healthcheck, ImageConfig, RootFs, RunConfig};
pub use digest::{BadDigest, Digest};
pub use entry::{Content, Device, Entry, EntryKind, Extent, Meta, Time, Xattrs};
pub use image_file::ImageFile;
pub use init::{Init, InitConfig, InitError, MAX_INIT};
pub use limits::Limits;
pub use path::{BadPath, EntryPath, MAX_NAME, MAX_PATH};
pub use progress::{Progress, Quiet, Stage, Timed};
pub use space::NoRoom;
pub use tree::{Node, NodeId, NodeKind, Tree};
