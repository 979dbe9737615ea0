//! Whether the tree becomes a file system at all.

use crate::Digest;
use crate::Tree;
use crate::ext4::{Plan, PlanError, Size};
use crate::inspect::Finding;
use crate::writer::Planned as _;

/// Bytes of the file that the tree becomes, holes included.
pub(in crate::inspect) fn size(tree: &Tree) -> Result<u64, PlanError> {
    // The id changes no size.
    Plan::new(tree, Digest::of(b""), Size::Fitting).map(|plan| plan.size())
}

pub(in crate::inspect) fn finding(size: &Result<u64, PlanError>) -> Finding {
    match size {
        Ok(bytes) => Finding::ok("file_system", format!("an ext4 file of {} MiB", bytes >> 20)),
        Err(why) => Finding::will_not_boot(
            "file_system",
            format!("no file system can be made of it: {why}"),
            "remove or rename what is named in the image, in the layer that brings it",
        ),
    }
}
