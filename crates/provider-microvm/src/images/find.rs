//! Where an image is.

use std::path::PathBuf;

use bollard::Docker;
use bollard::errors::Error as Bollard;
use rootfs::Digest;
use rootfs::build::Options;
use rootfs::source::engine::{self, EngineError};
use rootfs::source::registry::{self, RegistryError};
use rootfs::source::{Choice, Image, SpoolError, host_architecture};
use rootfs::store::Key;
use seats::{ImageRef, ProviderError, SeatRef};

use super::convert::{Noted, unusable};
use super::{Images, Ready, archives, of_store};
use crate::tell::Tell;

impl Images {
    pub(super) async fn find(
        &self,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Ready, ProviderError> {
        let mut looked = Looked::default();
        for path in archives(&self.config.archives) {
            match open(path.clone(), image.clone()).await {
                Ok(Ok(found)) => return self.convert(found, image, seat, tell).await,
                Ok(Err(there)) => looked.others.push(format!("{} has {there}", path.display())),
                Err(why) => looked.troubles.push(why),
            }
        }
        if let Some(connect) = &self.engine {
            match connect().await {
                Ok(docker) => match self.in_engine(&docker, image, seat, tell).await? {
                    Ok(ready) => return Ok(ready),
                    Err(why) => looked.troubles.push(why),
                },
                Err(why) => looked.troubles.push(format!("the Docker engine does not answer: {why}")),
            }
        }
        if let Some(ready) = self.remembered(image) {
            return Ok(ready);
        }
        if self.config.registry {
            let options = registry::Options {
                insecure: self.config.insecure_registries.clone(),
                ..registry::Options::default()
            };
            let noted = Noted::new(image, tell);
            let spool = self.store.folder();
            let fetched = registry::fetch(image.canonical(), &options, spool, None, &noted).await;
            match fetched {
                Ok(found) => return self.convert(found, image, seat, tell).await,
                Err(why @ RegistryError::Architecture { .. }) => return Err(unusable(image, why)),
                Err(RegistryError::Spool(why)) => return Err(full(seat, &why)),
                Err(why) => looked.troubles.push(why.to_string()),
            }
        } else {
            looked.troubles.push("no registry is asked (microvm.registry)".to_owned());
        }
        Err(ProviderError::ImageUnavailable { image: image.clone(), detail: looked.told() })
    }

    /// The image as the engine has it now; otherwise why it does not come from there.
    async fn in_engine(
        &self,
        docker: &Docker,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Result<Ready, String>, ProviderError> {
        let none = || Ok(Err("the Docker engine does not have it".to_owned()));
        let inspected = match docker.inspect_image(image.as_str()).await {
            Ok(inspected) => inspected,
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => return none(),
            // As good as one that does not answer at all.
            Err(why) => return Ok(Err(format!("the Docker engine: {why}"))),
        };
        if !image.is_among(inspected.repo_tags.iter().chain(&inspected.repo_digests).flatten()) {
            return none();
        }
        let digest: Option<Digest> = inspected.id.as_deref().and_then(|id| id.parse().ok());
        let os = inspected.os.unwrap_or_default();
        let architecture = inspected.architecture.unwrap_or_default();
        if let Some(digest) = digest {
            let key = Key::known(digest, format!("{os}/{architecture}"), &Options::default());
            if let Some(found) = self.store.get(&key).map_err(|why| of_store(seat, why))? {
                let ready = Ready::new(found);
                self.remember(image, ready.entry());
                return Ok(Ok(ready));
            }
        }
        let noted = Noted::new(image, tell);
        let spool = self.store.folder();
        match engine::fetch(docker, image.as_str(), spool, Some(host_architecture()), &noted).await {
            Ok(found) => self.convert(found, image, seat, tell).await.map(Ok),
            Err(EngineError::NoSuch(_)) => none(),
            Err(why @ EngineError::Architecture { .. }) => Err(unusable(image, why)),
            Err(EngineError::Spool(why)) => Err(full(seat, &why)),
            Err(why) => Ok(Err(format!("the Docker engine: {why}"))),
        }
    }
}

fn full(seat: &SeatRef, why: &SpoolError) -> ProviderError {
    let detail = format!("the image cannot be kept: {why}");
    ProviderError::HostFull { for_whom: crate::fail::seat(seat), detail }
}

/// Where an image was looked for in vain.
#[derive(Default)]
struct Looked {
    /// Archives that have others.
    others: Vec<String>,
    troubles: Vec<String>,
}

impl Looked {
    /// How many archives a message names, and how many images of each.
    const MOST: usize = 5;

    fn told(mut self) -> String {
        let number = self.others.len();
        self.others.truncate(Self::MOST);
        if number > Self::MOST {
            self.others.push(format!("and {} more archives have others", number - Self::MOST));
        }
        self.others.extend(self.troubles);
        self.others.join("; ")
    }
}

/// Names of an archive for a message.
fn others(names: &[String]) -> String {
    let some: Vec<_> = names.iter().take(Looked::MOST).map(|name| name.escape_debug().to_string()).collect();
    match names.len() {
        0 => "an image without a name".to_owned(),
        number if number > Looked::MOST => format!("{} and {} more", some.join(", "), number - Looked::MOST),
        _ => some.join(", "),
    }
}

/// An image in an archive; what else is in there when it is not.
async fn open(path: PathBuf, image: ImageRef) -> Result<Result<Image, String>, String> {
    let work = move || {
        let names = Image::names(&path).map_err(|why| why.to_string())?;
        // By its whole name: that another one ends in the same way, or has the same tag, makes it no other image.
        let Some(name) = names.iter().find(|name| image.is_among([*name])) else {
            return Ok(Err(others(&names)));
        };
        let choice = Choice { name: Some(name.clone()), architecture: None };
        Image::open(&path, &choice).map(Ok).map_err(|why| why.to_string())
    };
    tokio::task::spawn_blocking(work).await.map_err(|why| why.to_string())?
}
