//! From an image to a file system in the store.

use std::sync::Mutex;

use rootfs::build::{BuildError, Options, build};
use rootfs::inspect::{Level, Verdict, inspect};
use rootfs::source::{Image, host_architecture};
use rootfs::store::{InUse, Key, Store, StoreError};
use rootfs::{ImageFile, Limits, Progress, Stage as Part};
use seats::{ImageRef, ProviderError, SeatRef, Stage};

use super::{Images, Ready, of_store};
use crate::fail;
use crate::tell::Tell;

impl Images {
    /// The converted image; nothing is made of one that does not boot.
    pub(super) async fn convert(
        &self,
        found: Image,
        image: &ImageRef,
        seat: &SeatRef,
        tell: &Tell,
    ) -> Result<Ready, ProviderError> {
        let (store, name, whom, told) = (self.store.clone(), image.clone(), seat.clone(), tell.clone());
        let memory = self.config.memory;
        let work = move || blocking(&store, &found, &name, memory, &told).map_err(|why| why.of(&name, &whom));
        let done = tokio::task::spawn_blocking(work).await;
        let made = done.map_err(|why| {
            let detail = "the conversion of the image broke off";
            fail::failed(fail::seat(seat), Stage::Image, detail, Some(Box::new(why)))
        })??;
        let ready = Ready::new(made);
        self.remember(image, ready.entry());
        Ok(ready)
    }
}

enum Trouble {
    Unusable(String),
    Build(BuildError),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::Build(why) => Self::Build(why),
            why => Self::Store(why),
        }
    }
}

impl Trouble {
    fn of(self, image: &ImageRef, seat: &SeatRef) -> ProviderError {
        match self {
            Self::Unusable(why) => unusable(image, why),
            Self::Build(BuildError::Write { path, why }) => {
                fail::io(fail::seat(seat), Stage::Image, path.display())(why)
            }
            Self::Build(why @ BuildError::Memory { needs, .. }) => {
                let needs = needs >> 20;
                unusable(image, format!("{why}; allow microvm.image_memory_mib = {needs}"))
            }
            Self::Build(why) => unusable(image, format!("it cannot be converted: {why}")),
            Self::Store(why) => of_store(seat, why),
        }
    }
}

fn blocking(
    store: &Store,
    found: &Image,
    name: &ImageRef,
    memory: u64,
    tell: &Tell,
) -> Result<InUse, Trouble> {
    let limits = Limits { memory, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let key = Key::of(found, &options);
    if let Some(there) = store.get(&key)? {
        return Ok(there);
    }
    let architecture = &found.config.architecture;
    if !architecture.is_empty() && architecture != host_architecture() {
        let why = format!("it is for {architecture}, and this host is {}", host_architecture());
        return Err(Trouble::Unusable(why));
    }
    tell.note(format!("looking at {name}"));
    let report = inspect(found, &limits).map_err(Trouble::Build)?;
    if report.verdict == Verdict::WillNotBoot {
        let against = report.findings.iter().filter(|finding| finding.level == Level::WillNotBoot);
        let details: Vec<_> = against.map(|finding| finding.detail.as_str()).collect();
        return Err(Trouble::Unusable(details.join("; ")));
    }
    let noted = Noted::new(name, tell);
    let waiting = || tell.note(format!("another process converts {name}; waiting for it"));
    store.get_or_build(&key, waiting, |path| -> Result<_, Trouble> {
        let built = build(found, path, &options, &noted).map_err(Trouble::Build)?;
        Ok(ImageFile::new(found, &options, &built, vec![name.to_string()]))
    })
}

pub(super) fn unusable(image: &ImageRef, why: impl std::fmt::Display) -> ProviderError {
    ProviderError::ImageUnusable { image: image.clone(), detail: why.to_string() }
}

/// How far a conversion is, as the note of its stage.
pub(super) struct Noted<'a> {
    image: &'a ImageRef,
    tell: &'a Tell,
    now: Mutex<Now>,
}

#[derive(Clone, Copy, Default)]
struct Now {
    part: Option<Part>,
    total: Option<u64>,
    done: u64,
}

const MIB: u64 = 1 << 20;
/// How much is done between two notes.
const EVERY: u64 = 8 * MIB;

impl<'a> Noted<'a> {
    pub(super) fn new(image: &'a ImageRef, tell: &'a Tell) -> Self {
        Self { image, tell, now: Mutex::default() }
    }

    fn tell(&self, now: Now) {
        let doing = match now.part {
            Some(Part::Fetch) => "fetching",
            _ => "converting",
        };
        let image = self.image;
        self.tell.note(match now.total {
            Some(total) => format!("{doing} {image}: {} of {} MiB", now.done / MIB, total / MIB),
            None => format!("{doing} {image}"),
        });
    }
}

impl Progress for Noted<'_> {
    fn begin(&self, part: Part, total: Option<u64>) {
        let now = Now { part: Some(part), total, done: 0 };
        if let Ok(mut known) = self.now.lock() {
            *known = now;
        }
        self.tell(now);
    }

    fn advance(&self, bytes: u64) {
        let Ok(mut known) = self.now.lock() else { return };
        let before = known.done / EVERY;
        known.done += bytes;
        let now = *known;
        drop(known);
        if now.done / EVERY > before {
            self.tell(now);
        }
    }
}
