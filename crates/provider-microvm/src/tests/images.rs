//! Where images come from and how long they stay, without guests. From a real engine and a real registry: the tests of the service
//! (`vm_service`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rootfs::store::{EntryName, Policy, Store};
use seats::{DataPolicy, Provider as _, SeatSpec};

use super::bench::{Bench, archive, archive_of, create, seat, spec, up};
use crate::vmm::How;
use crate::{EngineConnect, ImageNames};

/// An engine that is not there.
fn down() -> Option<EngineConnect> {
    Some(Arc::new(|| Box::pin(async { Err("connection refused".to_owned()) })))
}

fn store(bench: &Bench) -> Store {
    Store::open(&bench.config.state_dir.join("images")).unwrap()
}

/// What is kept for seats.
fn pinned(bench: &Bench) -> Vec<EntryName> {
    let entries = store(bench).list().unwrap();
    entries.into_iter().filter(|entry| !entry.pins.is_empty()).map(|entry| entry.name).collect()
}

/// Removes every image that nobody needs; what is left.
fn collected(bench: &Bench) -> BTreeSet<String> {
    let everything = Policy { unused_for: Some(Duration::ZERO), keep_bytes: Some(0), dry_run: false };
    store(bench).collect(&everything).unwrap();
    store(bench).list().unwrap().iter().map(|entry| entry.name.to_string()).collect()
}

#[tokio::test]
async fn an_image_that_is_nowhere_says_where_it_was_looked_for() {
    let bench = Bench::new();
    let provider = bench.provider_with(down());
    let wish = SeatSpec { image: "nowhere:1".parse().unwrap(), ..spec(seat("rust-101", 1)) };
    let error = create(&provider, &wish).await.unwrap_err();
    assert_eq!(error.code(), "image_unavailable");
    let text = error.to_string();
    for word in ["nowhere:1", "good.tar has testbed:latest", "connection refused", "microvm.registry"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(error.remedy().contains("load or build the image"));
    assert_eq!(bench.left(), [] as [String; 0]);
}

#[tokio::test]
async fn an_image_is_called_by_its_whole_name() {
    let bench = Bench::new();
    let archives = &bench.config.images.archives[0];
    let other = archive("registry.example/school/lesson:1", "amd64", true);
    std::fs::write(archives.join("a.tar"), other).unwrap();
    let provider = bench.provider_with(down());
    let wish = |image: &str| SeatSpec { image: image.parse().unwrap(), ..spec(seat("rust-101", 1)) };
    for other in ["lesson:1", "school/lesson:1", "registry.example/school/lesson"] {
        let error = create(&provider, &wish(other)).await.unwrap_err();
        assert_eq!(error.code(), "image_unavailable", "{other}: {error}");
    }
    up(&provider, &wish("registry.example/school/lesson:1")).await;
}

#[tokio::test]
async fn an_image_that_changed_is_that_of_the_next_seat_and_each_seat_keeps_its_own() {
    let bench = Bench::new();
    let [first, second] = [1, 2].map(|number| spec(seat("rust-101", number)));
    up(&bench.provider_with(down()), &first).await;
    let [old] = pinned(&bench).try_into().unwrap();
    let changed = archive_of("testbed:latest", "amd64", true, "2");
    std::fs::write(bench.config.images.archives[0].join("good.tar"), changed).unwrap();
    // One who does not remember that it was the other a moment ago.
    let provider = bench.provider_with(down());
    up(&provider, &second).await;
    let both: BTreeSet<_> = pinned(&bench).iter().map(ToString::to_string).collect();
    assert!(both.len() == 2 && both.contains(old.as_str()), "{both:?}");
    // Both are needed, also that of a seat whose machine is off; it starts with its own again.
    bench.machine(&first.seat).end(How::Code(0));
    assert_eq!(collected(&bench), both);
    up(&provider, &first).await;
    assert_eq!(collected(&bench), both);
    provider.destroy(&first.seat, DataPolicy::Remove).await.unwrap();
    drop(provider);
    let left = collected(&bench);
    assert!(left.len() == 1 && !left.contains(old.as_str()), "{left:?}");
}

#[tokio::test]
async fn what_was_converted_by_name_is_found_without_any_source() {
    let bench = Bench::new();
    let wish = spec(seat("rust-101", 1));
    let provider = bench.provider_with(down());
    up(&provider, &wish).await;
    let [entry] = pinned(&bench).try_into().unwrap();
    ImageNames::of(&bench.config.state_dir).set(&"given:1".parse().unwrap(), &entry).unwrap();
    let given = SeatSpec { image: "given:1".parse().unwrap(), ..spec(seat("rust-101", 2)) };
    up(&provider, &given).await;
    // A name whose image is gone means nothing any more.
    for seat in [&wish.seat, &given.seat] {
        provider.destroy(seat, DataPolicy::Remove).await.unwrap();
    }
    drop(provider);
    assert_eq!(collected(&bench), BTreeSet::new());
    let error = create(&bench.provider_with(down()), &given).await.unwrap_err();
    assert_eq!(error.code(), "image_unavailable");
}
