//! Images: converted once for everybody who waits, and kept for as long as a seat needs them.
//!
//! ```text
//!   archives ─► engine ─► converted before, by name ─► registry        the first that has it
//!        └─────────┴──── will it boot? ──── convert ─────┘
//!                                └─► the store ─► pinned by each seat
//! ```
//!
//! The engine is asked first of those that can change their mind: a tag that was moved there means another image from then on.
//! Without an engine a name means what it meant when it was converted.

mod convert;
mod find;
mod names;
mod whereabouts;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rootfs::ImageFile;
use rootfs::store::{EntryName, InUse, Owner, Store, StoreError};
use seats::{ImageRef, ProviderError, SeatRef, Stage};

pub use self::names::ImageNames;
use self::names::hash;
pub(crate) use self::whereabouts::whereabouts;
use crate::locks::Locks;
use crate::state::StateDir;
use crate::tell::Tell;
use crate::{ImageConfig, fail};

/// Connects to the Docker engine, when there is one; otherwise says why it cannot be reached.
pub type EngineConnect = Arc<dyn Fn() -> BoxFuture<'static, Result<bollard::Docker, String>> + Send + Sync>;

/// How long a name that was looked up is believed to mean the same.
const SEEN_FOR: Duration = Duration::from_secs(30);

/// The images of one provider.
pub(crate) struct Images {
    store: Store,
    names: ImageNames,
    config: ImageConfig,
    engine: Option<EngineConnect>,
    state: StateDir,
    seen: Mutex<HashMap<String, (EntryName, Instant)>>,
    flights: Locks,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").field("store", &self.store).finish_non_exhaustive()
    }
}

/// An image that can be booted. Nobody removes it before this is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ready(Arc<InUse>);

impl Ready {
    fn new(found: InUse) -> Self {
        Self(Arc::new(found))
    }

    /// Keeps it for a seat.
    pub(crate) fn pin(&self, owner: &Owner) -> std::io::Result<()> {
        self.0.pin(owner).map_err(std::io::Error::other)
    }

    pub(crate) fn entry(&self) -> &EntryName {
        self.0.name()
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.0.rootfs()
    }

    pub(crate) fn image(&self) -> &ImageFile {
        &self.0.image
    }
}

impl Images {
    /// # Errors
    /// When the store cannot be used.
    pub(crate) fn new(
        state: &StateDir,
        config: ImageConfig,
        engine: Option<EngineConnect>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            store: Store::open(state.images())?,
            names: state.names(),
            config,
            engine,
            state: state.clone(),
            seen: Mutex::default(),
            flights: Locks::default(),
        })
    }

    /// The converted image of a name; converts it when it is not there.
    ///
    /// # Errors
    /// When it cannot be had, or cannot be booted.
    pub(crate) async fn ensure(
        &self,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Ready, ProviderError> {
        if let Some(ready) = self.believed(image, seat)? {
            return Ok(ready);
        }
        let flight = self.state.folder().join("locks").join(format!("image.{}", hash(image)));
        let turn = self.flights.turn(flight).await;
        let _turn = turn.map_err(fail::io(fail::seat(seat), Stage::Image, "waiting for the image"))?;
        if let Some(ready) = self.believed(image, seat)? {
            return Ok(ready);
        }
        let ready = self.find(image, seat, tell).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (_, at)| at.elapsed() < SEEN_FOR);
        seen.insert(image.canonical().to_owned(), (ready.entry().clone(), Instant::now()));
        Ok(ready)
    }

    /// An entry by its name, if it is still there.
    pub(crate) fn entry(&self, entry: &EntryName) -> Result<Option<Ready>, StoreError> {
        Ok(self.store.named(entry)?.map(Ready::new))
    }

    /// Lets go what is kept for a seat: the entry that its record names, or, without one, whatever is kept for it.
    pub(crate) fn unpin(&self, entry: Option<&EntryName>, seat: &SeatRef) -> Result<(), ProviderError> {
        let owner = self.owner(seat).map_err(|why| fail::failed(fail::seat(seat), Stage::Undo, why, None))?;
        let store = |why: StoreError| {
            fail::failed(fail::seat(seat), Stage::Undo, "its image cannot be let go", Some(Box::new(why)))
        };
        match entry {
            Some(entry) => self.store.unpin(entry, &owner).map_err(store),
            None => {
                let entries = self.store.list().map_err(store)?;
                let mut kept = entries.iter().filter(|entry| entry.pins.contains(&owner));
                kept.try_for_each(|entry| self.store.unpin(&entry.name, &owner).map_err(store))
            }
        }
    }

    /// What a seat is called among those for whom images are kept.
    pub(crate) fn owner(&self, seat: &SeatRef) -> Result<Owner, String> {
        crate::names::pin(self.state.instance(), seat)
            .parse()
            .map_err(|_| "the seat has no name for its pin".to_owned())
    }

    fn believed(&self, image: &ImageRef, seat: &SeatRef) -> Result<Option<Ready>, ProviderError> {
        let entry = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match seen.get(image.canonical()) {
                Some((entry, at)) if at.elapsed() < SEEN_FOR => entry.clone(),
                _ => return Ok(None),
            }
        };
        self.entry(&entry).map_err(|why| of_store(seat, why))
    }

    /// What a name meant when it was converted, if that is still there.
    fn remembered(&self, image: &ImageRef) -> Option<Ready> {
        self.entry(&self.names.get(image)?).ok().flatten()
    }

    fn remember(&self, image: &ImageRef, entry: &EntryName) {
        let written = self.names.set(image, entry);
        if let Err(why) = written {
            tracing::warn!(%image, %why, "what the image's name means could not be written down");
        }
    }
}

/// The archives that paths of archives and of folders with them stand for, in order.
fn archives(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() && !path.join("index.json").exists() {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            let inside = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let mut inside: Vec<_> = inside.filter(|path| is_archive(path)).collect();
            inside.sort();
            found.extend(inside);
        } else {
            found.push(path.clone());
        }
    }
    found
}

fn is_archive(path: &Path) -> bool {
    path.is_dir() && path.join("index.json").exists()
        || path.is_file() && path.extension().is_some_and(|end| end == "tar")
}

fn of_store(seat: &SeatRef, why: StoreError) -> ProviderError {
    match why {
        StoreError::Io { path, why } => fail::io(fail::seat(seat), Stage::Image, path.display())(why),
        why => fail::failed(fail::seat(seat), Stage::Image, why.to_string(), Some(Box::new(why))),
    }
}
