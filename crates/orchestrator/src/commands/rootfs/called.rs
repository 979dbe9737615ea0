//! What an image in the store is called, for seats as microVMs: they find it under its name from then on, as containers find what was
//! pulled or loaded, wherever it came from.

use provider_microvm::ImageNames;
use rootfs::build::Options;
use rootfs::source::{Image, host_architecture};
use rootfs::store::EntryName;
use rootfs::{ext4::Size, writer::WriterKind};
use seats::ImageRef;

use super::source::Source;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Writes down what the image is called. One that is made in another way than seats have theirs gets no name.
pub(super) fn remember(
    source: &Source,
    architecture: Option<&str>,
    options: &Options,
    config: &Config,
    entry: &EntryName,
) -> Result<(), Failure> {
    let is_for_seats = options.init.is_none()
        && matches!(options.size, Size::Fitting)
        && options.writer == WriterKind::Mkext4
        && architecture.is_none_or(|wanted| wanted == host_architecture());
    if !is_for_seats {
        return Ok(());
    }
    let names = ImageNames::of(&config.settings.state_dir);
    names_of(source).iter().try_for_each(|name| names.set(name, entry)).map_err(|why| {
        let place = config.settings.state_dir.display();
        Failure::new(Exit::Failure, format!("the image's name cannot be written down below {place}: {why}"))
    })
}

/// The whole names of an image; an archive says itself what its image is called.
fn names_of(source: &Source) -> Vec<ImageRef> {
    let parsed = |name: &String| name.parse::<ImageRef>().ok();
    match source {
        Source::Engine(name) | Source::Registry(name) => parsed(name).into_iter().collect(),
        Source::File { path, name } => {
            let written = Image::names(path).unwrap_or_default();
            let written = written.iter().filter_map(parsed);
            match name.as_ref().map(parsed) {
                Some(wanted) => written.filter(|written| Some(written) == wanted.as_ref()).collect(),
                None => written.collect(),
            }
        }
    }
}
