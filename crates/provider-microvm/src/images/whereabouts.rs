//! Where an image would come from, for the doctor. Nothing is fetched, converted or written.

use rootfs::source::Image;
use seats::{Finding, ImageRef};

use super::{EngineConnect, ImageNames, archives};
use crate::MicrovmConfig;

const NAME: &str = "image";
const REMEDY: &str = "build or pull it in the Docker engine; or 'orchestrator rootfs build' with a 'docker save' file or docker://NAME; or name \
                      archives by microvm.image_archives";

/// Whether seats of an image could be made without the registry, and by what.
pub(crate) async fn whereabouts(
    config: &MicrovmConfig,
    image: &ImageRef,
    engine: Option<&EngineConnect>,
) -> Finding {
    let mut troubles = Vec::new();
    for path in archives(&config.images.archives) {
        match Image::names(&path) {
            Ok(names) if image.is_among(&names) => {
                return Finding::ok(NAME, format!("{image} is in {}", path.display()));
            }
            Ok(_) => {}
            Err(why) => troubles.push(why.to_string()),
        }
    }
    match engine {
        None => {}
        Some(connect) => match connect().await {
            Ok(docker) => {
                let inspected = docker.inspect_image(image.as_str()).await;
                let names = inspected.map(|found| [found.repo_tags, found.repo_digests]);
                if names.is_ok_and(|names| image.is_among(names.iter().flatten().flatten())) {
                    return Finding::ok(NAME, format!("{image} is in the Docker engine"));
                }
                troubles.push("the Docker engine does not have it".to_owned());
            }
            Err(why) => troubles.push(format!("no Docker engine answers: {why}")),
        },
    }
    let entry = ImageNames::of(&config.state_dir).get(image);
    if entry.is_some_and(|entry| {
        config.state_dir.join("images").join(entry.as_str()).join("rootfs.ext4").exists()
    }) {
        return Finding::ok(NAME, format!("{image} was converted before"));
    }
    let troubles = if troubles.is_empty() { "no archive has it".to_owned() } else { troubles.join("; ") };
    let detail = format!("{image} is not on this host: {troubles}");
    if config.images.registry {
        Finding::warning(NAME, format!("{detail}. The first seat asks the registry of its name"), REMEDY)
    } else {
        Finding::error(NAME, format!("{detail}. No seat can be made of it"), REMEDY)
    }
}
