//! Images that mean harm: each is refused with an error that names the layer and the entry, or comes out as a file system
//! in which it has done nothing; and nothing is written anywhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod archive;
mod costly;
mod documents;
mod image;
mod memory;
mod merged;
mod paths;
mod sizes;

use rootfs::Limits;
use rootfs::build::BuildError;

use self::image::Layout;

/// Layers below one that is refused, and the word by which the error must say why.
fn refused(layers: &[Vec<u8>], limits: Limits) -> String {
    let layout = Layout::of(layers);
    let error = layout.build(limits).unwrap_err();
    let text = error.to_string();
    let place = format!("layer {}, ", layers.len());
    assert!(text.starts_with(&place), "{text:?} does not begin with {place:?}");
    assert!(
        matches!(error, BuildError::Layer(_) | BuildError::Merge { .. }),
        "{text} came only after the last layer"
    );
    assert!(!layout.out().exists(), "{text}, but there is a file");
    assert_eq!(beside(&layout), ["layout"]);
    text
}

/// What there is beside a layout, by name.
fn beside(layout: &Layout) -> Vec<String> {
    let entries = std::fs::read_dir(layout.beside()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
