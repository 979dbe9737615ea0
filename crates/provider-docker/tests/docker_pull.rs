//! Images that are not on the host: pulled once for all, watched, given up, refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Bench;
use docker_testbed::{Fault, Host, Registry};
use futures_util::future::join_all;
use seats::{Provider, Timeline};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_image_is_pulled_once_for_all_that_wait_and_they_see_how_far_it_is() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    let registry = Registry::start().await.unwrap();
    let image = registry.image(workshop.as_str());
    proxy.arm(usize::MAX, Fault::Refused);

    let timelines: Vec<_> = (0..6).map(|_| Arc::new(Timeline::default())).collect();
    let waiting = join_all(timelines.iter().enumerate().map(|(number, timeline)| {
        let mut spec = common::spec(common::seat(&workshop, number as u64 + 1));
        spec.image = image.parse().unwrap();
        let provider = provider.clone();
        async move { provider.prepare(&spec, timeline).await }
    }));
    let watching = async {
        let saw = |timeline: &Arc<Timeline>| timeline.now().and_then(|(_, note)| note);
        while !timelines.iter().all(|timeline| saw(timeline).is_some_and(|note| note.contains("pulling"))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (prepared, ()) = tokio::join!(waiting, watching);
    for outcome in prepared {
        outcome.unwrap();
    }
    assert_eq!(registry.pulls(), 1);
    let pulls = proxy.calls().iter().filter(|call| call.ends_with("/images/create")).count();
    assert_eq!(pulls, 1, "{:?}", proxy.calls());
    let remove = None::<bollard::query_parameters::RemoveImageOptions>;
    host.docker.remove_image(&image, remove, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn one_who_gives_up_does_not_end_the_pull_of_the_others() {
    let host = Host::of_this_machine().await.unwrap();
    let registry = Registry::start().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    let image = registry.image(workshop.as_str());
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.image = image.parse().unwrap();
    let (timeline, impatient) = (Timeline::default(), Timeline::default());
    let gives_up = async {
        let wait = provider.prepare(&spec, &impatient);
        drop(tokio::time::timeout(Duration::from_millis(200), wait).await);
    };
    let (prepared, ()) = tokio::join!(provider.prepare(&spec, &timeline), gives_up);
    prepared.unwrap();
    assert_eq!(registry.pulls(), 1);
    let remove = None::<bollard::query_parameters::RemoveImageOptions>;
    host.docker.remove_image(&image, remove, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_engine_that_goes_away_while_it_pulls_is_not_a_wrong_name() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    let registry = Registry::start().await.unwrap();
    let mut spec = common::spec(common::seat(&workshop, 1));
    spec.image = registry.image(workshop.as_str()).parse().unwrap();
    for number in 0.. {
        assert!(number < 10, "the pull was never failed");
        proxy.arm(number, Fault::Lost);
        let outcome = provider.prepare(&spec, &Timeline::default()).await;
        let struck = proxy.disarm().unwrap();
        if struck.ends_with("/images/create") {
            assert_eq!(outcome.unwrap_err().code(), "engine_unavailable");
            break;
        }
    }
    let remove = None::<bollard::query_parameters::RemoveImageOptions>;
    host.docker.remove_image(spec.image.as_str(), remove, None).await.ok();
}
