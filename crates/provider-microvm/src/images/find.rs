//! Where an image is.

use std::path::PathBuf;

use bollard::Docker;
use bollard::errors::Error as Bollard;
use rootfs::Digest;
use rootfs::build::Options;
use rootfs::source::engine::{self, EngineError};
use rootfs::source::registry::{self, RegistryError};
use rootfs::source::{Choice, Image, SourceError, Wrong, host_architecture};
use rootfs::store::Key;
use seats::{ImageRef, ProviderError, SeatRef};

use super::convert::{Noted, unusable};
use super::{Images, Ready, of_store};
use crate::tell::Tell;

impl Images {
    pub(super) async fn find(
        &self,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Ready, ProviderError> {
        let mut troubles = Vec::new();
        for path in self.archives() {
            match open(path.clone(), image.clone()).await {
                Ok(Some(found)) => return self.convert(found, image, seat, tell).await,
                Ok(None) => {}
                Err(why) => troubles.push(format!("{}: {why}", path.display())),
            }
        }
        if let Some(connect) = &self.engine {
            match connect().await {
                Ok(docker) => {
                    if let Some(ready) = self.in_engine(&docker, image, seat, tell).await? {
                        return Ok(ready);
                    }
                    troubles.push("the Docker engine does not have it".to_owned());
                }
                Err(why) => troubles.push(format!("the Docker engine does not answer: {why}")),
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
                Err(why) => troubles.push(why.to_string()),
            }
        }
        if troubles.is_empty() {
            troubles.push(
                "no archive has it, and neither a Docker engine nor a registry is configured".to_owned(),
            );
        }
        Err(ProviderError::ImageUnavailable { image: image.clone(), detail: troubles.join("; ") })
    }

    async fn in_engine(
        &self,
        docker: &Docker,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Option<Ready>, ProviderError> {
        let inspected = match docker.inspect_image(image.as_str()).await {
            Ok(inspected) => inspected,
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(why) => {
                let detail = format!("the Docker engine: {why}");
                return Err(ProviderError::ImageUnavailable { image: image.clone(), detail });
            }
        };
        if !image.is_among(inspected.repo_tags.iter().chain(&inspected.repo_digests).flatten()) {
            return Ok(None);
        }
        let digest: Option<Digest> = inspected.id.as_deref().and_then(|id| id.parse().ok());
        let os = inspected.os.unwrap_or_default();
        let architecture = inspected.architecture.unwrap_or_default();
        if let Some(digest) = digest {
            let key = Key::known(digest, format!("{os}/{architecture}"), &Options::default());
            if let Some(found) = self.store.get(&key).map_err(|why| of_store(seat, why))? {
                let ready = Ready::new(found);
                self.remember(image, ready.entry());
                return Ok(Some(ready));
            }
        }
        let noted = Noted::new(image, tell);
        let spool = self.store.folder();
        match engine::fetch(docker, image.as_str(), spool, Some(host_architecture()), &noted).await {
            Ok(found) => self.convert(found, image, seat, tell).await.map(Some),
            Err(EngineError::NoSuch(_)) => Ok(None),
            Err(why @ EngineError::Architecture { .. }) => Err(unusable(image, why)),
            Err(EngineError::Spool(why)) => Err(ProviderError::HostFull {
                for_whom: crate::fail::seat(seat),
                detail: format!("the image cannot be kept: {why}"),
            }),
            Err(why) => {
                Err(ProviderError::ImageUnavailable { image: image.clone(), detail: why.to_string() })
            }
        }
    }
}

/// An image in an archive; nothing when it is not in there.
async fn open(path: PathBuf, image: ImageRef) -> Result<Option<Image>, String> {
    let work = move || {
        // As it was given, and as an engine would write it into an archive.
        let canonical = image.canonical();
        let short = canonical.strip_prefix("docker.io/").unwrap_or(canonical);
        let short = short.strip_prefix("library/").unwrap_or(short);
        for name in [image.as_str(), short] {
            let choice = Choice { name: Some(name.to_owned()), architecture: None };
            match Image::open(&path, &choice) {
                Ok(found) => return Ok(Some(found)),
                Err(SourceError::Wrong { why: Wrong::NoSuch { .. }, .. }) => {}
                Err(why) => return Err(why.to_string()),
            }
        }
        Ok(None)
    };
    tokio::task::spawn_blocking(work).await.map_err(|why| why.to_string())?
}
