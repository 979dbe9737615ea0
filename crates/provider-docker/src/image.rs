//! Images: there already, or pulled once for everybody who waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use seats::{ImageRef, ProviderError, ProviderKind, SeatRef, Stage, Timeline, workspace};
use tokio::sync::watch;

use crate::engine::{Engine, Whom, is_connection, is_status, status};

/// How long an image that was seen is believed to be there. A create that believed wrongly is told by the engine,
/// forgets it and starts over once.
const SEEN_FOR: Duration = Duration::from_secs(30);

const MIB: i64 = 1024 * 1024;

/// What a seat needs to know of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    /// The ports that the workspace listens on.
    pub(crate) ports: Vec<u16>,
}

#[derive(Clone, Debug)]
enum Pull {
    Progress(String),
    Done(Result<(), Failed>),
}

/// Why a pull ended without an image.
#[derive(Clone, Debug)]
enum Failed {
    /// The engine or the registry says that there is none to be had.
    Refused(String),
    /// The engine went away.
    Engine(String),
}

/// What this process knows of images.
#[derive(Debug, Default)]
pub(crate) struct Images {
    seen: Mutex<HashMap<String, (ImageFacts, Instant)>>,
    pulls: Arc<Mutex<HashMap<String, watch::Receiver<Pull>>>>,
}

impl Images {
    /// The facts of an image that is on the host; pulls it when it is not. Dropping the future stops waiting;
    /// the pull itself ends when nobody waits any more.
    pub(crate) async fn ensure(
        &self,
        engine: &Engine,
        docker: &Docker,
        image: &ImageRef,
        seat: &SeatRef,
        timeline: &Timeline,
    ) -> Result<ImageFacts, ProviderError> {
        if let Some(facts) = self.present(engine, docker, image, seat).await? {
            return Ok(facts);
        }
        self.pulled(engine, docker, image, timeline).await?;
        let facts = self.inspect(engine, docker, image, &Whom::Seat(seat)).await?;
        let gone = || unavailable(image, "it was removed right after the pull");
        facts.ok_or_else(gone)
    }

    /// The facts of an image if it is on the host, from memory when it was seen lately.
    pub(crate) async fn present(
        &self,
        engine: &Engine,
        docker: &Docker,
        image: &ImageRef,
        seat: &SeatRef,
    ) -> Result<Option<ImageFacts>, ProviderError> {
        match self.believed(image) {
            Some(facts) => Ok(Some(facts)),
            None => self.inspect(engine, docker, image, &Whom::Seat(seat)).await,
        }
    }

    /// The facts of an image if it is on the host.
    pub(crate) async fn inspect(
        &self,
        engine: &Engine,
        docker: &Docker,
        image: &ImageRef,
        whom: &Whom<'_>,
    ) -> Result<Option<ImageFacts>, ProviderError> {
        match docker.inspect_image(image.as_str()).await {
            Ok(inspected) if !has_name(&inspected, image) => {
                // The engine takes a name that it does not know for the beginning of an id; then any image on the
                // host could be meant, and no list of allowed names would hold.
                self.forget(image);
                Ok(None)
            }
            Ok(inspected) => {
                let exposed = inspected.config.and_then(|config| config.exposed_ports).unwrap_or_default();
                let facts = ImageFacts { ports: workspace::exposed_ports(&exposed) };
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.retain(|_, (_, at)| at.elapsed() < SEEN_FOR);
                seen.insert(image.canonical().to_owned(), (facts.clone(), Instant::now()));
                Ok(Some(facts))
            }
            Err(error) if is_status(&error, 404) => {
                self.forget(image);
                Ok(None)
            }
            Err(error) => Err(engine.explain(error, Stage::Image, whom)),
        }
    }

    /// The engine said that the image is gone.
    pub(crate) fn forget(&self, image: &ImageRef) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(image.canonical());
    }

    fn believed(&self, image: &ImageRef) -> Option<ImageFacts> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (facts, at) = seen.get(image.canonical())?;
        (at.elapsed() < SEEN_FOR).then(|| facts.clone())
    }

    async fn pulled(
        &self,
        engine: &Engine,
        docker: &Docker,
        image: &ImageRef,
        timeline: &Timeline,
    ) -> Result<(), ProviderError> {
        let mut pull = self.join(docker, image);
        loop {
            match pull.borrow_and_update().clone() {
                Pull::Progress(text) => timeline.note(text),
                Pull::Done(Ok(())) => return Ok(()),
                Pull::Done(Err(Failed::Refused(detail))) => return Err(unavailable(image, &detail)),
                Pull::Done(Err(Failed::Engine(detail))) => {
                    engine.reset();
                    return Err(ProviderError::Unavailable { provider: ProviderKind::Docker, detail });
                }
            }
            if pull.changed().await.is_err() {
                return Err(unavailable(image, "the pull was given up"));
            }
        }
    }

    /// Joins the pull of an image, or begins it.
    fn join(&self, docker: &Docker, image: &ImageRef) -> watch::Receiver<Pull> {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = pulls.get(image.canonical()) {
            return running.clone();
        }
        let (tell, pull) = watch::channel(Pull::Progress(format!("pulling {image}")));
        // The map holds a receiver of its own, so "nobody waits" is when only that one is left.
        pulls.insert(image.canonical().to_owned(), pull.clone());
        let (docker, image, pulls) = (docker.clone(), image.clone(), self.pulls.clone());
        tokio::spawn(async move {
            tracing::info!(%image, "pulling");
            let outcome = tokio::select! {
                outcome = run(&docker, &image, &tell) => outcome,
                () = abandoned(&tell) => Err(Failed::Refused("everybody who waited for it has left".to_owned())),
            };
            match &outcome {
                Ok(()) => tracing::info!(%image, "pulled"),
                Err(why) => tracing::warn!(%image, ?why, "pull failed"),
            }
            // Off the map first: who comes now begins anew.
            pulls.lock().unwrap_or_else(PoisonError::into_inner).remove(image.canonical());
            tell.send_replace(Pull::Done(outcome));
        });
        pull
    }
}

/// Ends when only the map still holds a receiver, twice in a row: one who is about to join gets a moment.
async fn abandoned(tell: &watch::Sender<Pull>) {
    let mut alone = 0;
    while alone < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        alone = if tell.receiver_count() <= 1 { alone + 1 } else { 0 };
    }
}

async fn run(docker: &Docker, image: &ImageRef, tell: &watch::Sender<Pull>) -> Result<(), Failed> {
    // The canonical form always has a tag; without one the engine would pull every tag there is.
    let options = CreateImageOptionsBuilder::default().from_image(image.canonical()).build();
    let mut lines = docker.create_image(Some(options), None, None);
    let mut layers = HashMap::new();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| match status(&error) {
            Some((_, message)) => Failed::Refused(message.trim().to_owned()),
            None if is_connection(&error) => {
                Failed::Engine(format!("it went away while pulling {image}: {error}"))
            }
            None => Failed::Refused(error.to_string()),
        })?;
        tell.send_replace(Pull::Progress(progress(image, &mut layers, line)));
    }
    Ok(())
}

/// Whether an image goes by a name, tag or digest, rather than by its id.
fn has_name(inspected: &ImageInspect, image: &ImageRef) -> bool {
    image.is_among(inspected.repo_tags.iter().chain(&inspected.repo_digests).flatten())
}

/// Sums up the layers: the engine tells of each by itself.
fn progress(image: &ImageRef, layers: &mut HashMap<String, (i64, i64)>, line: CreateImageInfo) -> String {
    let detail = line.progress_detail.unwrap_or_default();
    if let (Some(id), Some("Downloading"), Some(current), Some(total)) =
        (line.id, line.status.as_deref(), detail.current, detail.total)
    {
        layers.insert(id, (current, total));
    }
    let (done, total) =
        layers.values().fold((0, 0), |(done, total), layer| (done + layer.0, total + layer.1));
    if total == 0 {
        return format!("pulling {image}");
    }
    format!("pulling {image}: {} of {} MiB", done / MIB, total / MIB)
}

fn unavailable(image: &ImageRef, detail: &str) -> ProviderError {
    ProviderError::ImageUnavailable { image: image.clone(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("testbed", true)]
    #[case("docker.io/library/testbed:latest", true)]
    #[case("testbed:1", false)]
    #[case("b9e054ce5007", false)]
    #[case(
        "registry:5000/testbed@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        true
    )]
    fn an_image_is_known_by_its_names_only(#[case] asked: &str, #[case] known: bool) {
        let digest = format!("registry:5000/testbed@sha256:{}", "a".repeat(64));
        let inspected = ImageInspect {
            id: Some("sha256:b9e054ce5007".into()),
            repo_tags: Some(vec!["testbed:latest".into()]),
            repo_digests: Some(vec![digest]),
            ..ImageInspect::default()
        };
        assert_eq!(has_name(&inspected, &asked.parse().unwrap()), known);
    }

    #[test]
    fn progress_is_the_sum_of_the_layers() {
        let image: ImageRef = "testbed".parse().unwrap();
        let mut layers = HashMap::new();
        let line = |id: &str, current, total| CreateImageInfo {
            id: Some(id.into()),
            status: Some("Downloading".into()),
            progress_detail: Some(bollard::models::ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        };
        assert_eq!(progress(&image, &mut layers, CreateImageInfo::default()), "pulling testbed");
        progress(&image, &mut layers, line("a", MIB, 10 * MIB));
        let text = progress(&image, &mut layers, line("b", 2 * MIB, 20 * MIB));
        assert_eq!(text, "pulling testbed: 3 of 30 MiB");
    }
}
