//! Every call of a create failed in turn, on a real engine: refused without effect, and done but its answer lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use bollard::query_parameters::{RemoveImageOptions, StopContainerOptions, TagImageOptionsBuilder};
use common::Bench;
use docker_testbed::{Fault, IMAGE, Method};
use seats::{DataPolicy, Disposition, ObjectKind, Provider, ProviderError, SeatSpec, Timeline};

/// More calls than a create makes; the loops end when there is no call left to fail.
const MANY: usize = 40;

/// Fails the calls of a create one after the other until there is none left; returns which ones were failed.
async fn every_call_failed(bench: &Bench, spec: &SeatSpec, fault: Fault) -> Vec<String> {
    let mut failed = Vec::new();
    let nameless = bench.host.nameless_volumes().await.unwrap();
    for number in 0..MANY {
        // A provider that never saw the image and the network asks for both.
        let (proxy, provider) = bench.anew();
        proxy.arm(number, fault);
        let prepared = provider.prepare(spec, &Timeline::default()).await;
        let made = match prepared {
            Ok(()) => provider.create(spec, &Timeline::default()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let struck = proxy.disarm();
        let Some(struck) = struck else {
            made.unwrap();
            provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
            return failed;
        };
        assert!(made.is_err(), "{fault:?} {struck} (call {number}) was not noticed");
        let remains = bench.host.remains(&bench.workshop).await.unwrap();
        assert!(remains.is_empty(), "{fault:?} {struck} (call {number}) left {remains}");
        if spec.image.as_str().ends_with(":volume") {
            assert_eq!(bench.host.nameless_volumes().await.unwrap(), nameless, "{fault:?} {struck}");
        }
        failed.push(struck);
    }
    panic!("a create makes more than {MANY} calls: {failed:#?}");
}

fn assert_covers_the_steps(failed: &[String]) {
    for step in ["/networks/create", "/volumes/create", "/containers/create", "/start", "/json"] {
        assert!(failed.iter().any(|call| call.contains(step)), "{step} was never failed: {failed:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_refused_call_leaves_nothing() {
    let bench = common::bench().await;
    let spec = common::spec(common::seat(&bench.workshop, 1));
    let failed = every_call_failed(&bench, &spec, Fault::Refused).await;
    assert_covers_the_steps(&failed);
    assert!(bench.host.remains(&bench.workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_lost_answer_leaves_nothing() {
    let bench = common::bench().await;
    let spec = common::spec(common::seat(&bench.workshop, 1));
    let failed = every_call_failed(&bench, &spec, Fault::Lost).await;
    assert_covers_the_steps(&failed);
    assert!(bench.host.remains(&bench.workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_failed_create_leaves_the_other_seats_and_kept_data_alone() {
    let bench = common::bench().await;
    let Bench { host, provider, workshop, .. } = &bench;
    let (first, second) = (common::spec(common::seat(workshop, 1)), common::spec(common::seat(workshop, 2)));
    provider.create(&first, &Timeline::default()).await.unwrap();
    provider.create(&second, &Timeline::default()).await.unwrap();
    provider.destroy(&second.seat, DataPolicy::Keep).await.unwrap();
    let before = host.remains(workshop).await.unwrap();
    assert_eq!(before.volumes.len(), 2);
    for number in 0.. {
        assert!(number < MANY, "there is no end of calls");
        let (proxy, provider) = bench.anew();
        proxy.arm(number, Fault::Lost);
        let made = provider.create(&second, &Timeline::default()).await;
        if proxy.disarm().is_none() {
            assert_eq!(made.unwrap().disposition, Disposition::Made);
            break;
        }
        assert!(made.is_err());
        assert_eq!(host.remains(workshop).await.unwrap(), before, "call {number}");
    }
    provider.destroy_workshop(workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_destroy_that_failed_at_any_call_can_be_repeated() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    let spec = common::spec(common::seat(&workshop, 1));
    for fault in [Fault::Refused, Fault::Lost] {
        for number in 0.. {
            assert!(number < MANY, "there is no end of calls");
            provider.create(&spec, &Timeline::default()).await.unwrap();
            proxy.arm(number, fault);
            let destroyed = provider.destroy(&spec.seat, DataPolicy::Remove).await;
            if proxy.disarm().is_none() {
                destroyed.unwrap();
                break;
            }
            assert!(destroyed.is_err(), "{fault:?} of call {number} was not noticed");
            provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
            let remains = host.remains(&workshop).await.unwrap();
            assert!(remains.is_empty(), "{fault:?} {number}: {remains}");
        }
    }
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

/// Engines before 28.1 can lose count of a network's endpoints (moby 42119).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_network_that_the_engine_will_not_let_go_is_told_with_what_to_do() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    let spec = common::spec(common::seat(&workshop, 1));
    provider.create(&spec, &Timeline::default()).await.unwrap();
    proxy.deny(Method::DELETE, "/networks/", 403, "error while removing network: it has active endpoints");
    let error = provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ProviderError::InUse { kind: ObjectKind::Network, .. }), "{error:?}");
    assert!(text.contains("no container is attached") && text.contains("restart of the engine"), "{text}");
    let remains = host.remains(&workshop).await.unwrap();
    assert_eq!((remains.containers.len(), remains.volumes.len(), remains.networks.len()), (0, 0, 1));
    // The workshop is as usable as before.
    provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    proxy.disarm();
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

/// The engine makes volumes for images that declare some, and those carry no label of ours. This test is the only one
/// that has such an image, or they could not be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_image_with_a_volume_of_its_own_leaves_none_behind() {
    let bench = common::bench().await;
    let nameless = bench.host.nameless_volumes().await.unwrap();
    let mut spec = common::spec(common::seat(&bench.workshop, 1));
    spec.image = format!("{IMAGE}:volume").parse().unwrap();
    let failed = every_call_failed(&bench, &spec, Fault::Lost).await;
    assert_covers_the_steps(&failed);
    let Bench { host, provider, workshop, .. } = &bench;
    provider.create(&spec, &Timeline::default()).await.unwrap();
    assert_eq!(host.nameless_volumes().await.unwrap().len(), nameless.len() + 1);
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    assert_eq!(host.nameless_volumes().await.unwrap(), nameless);

    // Its program is not there: that is the image's fault, and no second try helps.
    spec.image = format!("{IMAGE}:broken").parse().unwrap();
    let error = provider.create(&spec, &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "image_unusable");
    assert!(error.to_string().contains("/nope"), "{error}");
    let remains = host.remains(workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
    assert_eq!(host.nameless_volumes().await.unwrap(), nameless);
}

/// The provider believes for a while that an image is there that it saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_image_that_was_removed_meanwhile_is_missing_and_no_fault_of_the_engine() {
    let Bench { host, proxy: _wire, provider, workshop, .. } = common::bench().await;
    let mut spec = common::spec(common::seat(&workshop, 1));
    let name = format!("localhost:1/{workshop}");
    let tag = TagImageOptionsBuilder::default().repo(&name).tag("latest").build();
    host.docker.tag_image(IMAGE, Some(tag)).await.unwrap();
    spec.image = name.parse().unwrap();
    provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    host.docker.remove_image(&name, None::<RemoveImageOptions>, None).await.unwrap();
    let error = provider.create(&spec, &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "image_unavailable", "{error}");
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_stopped_seat_whose_network_is_gone_is_made_anew_with_its_data() {
    let Bench { host, proxy: _wire, provider, workshop, .. } = common::bench().await;
    let spec = common::spec(common::seat(&workshop, 1));
    let made = provider.create(&spec, &Timeline::default()).await.unwrap();
    let container = format!("clarateach-{workshop}-1");
    host.exec(&container, &["sh", "-c", "echo kept > /workspace/note"]).await.unwrap();
    host.docker.stop_container(&container, None::<StopContainerOptions>).await.unwrap();
    host.docker.remove_network(&format!("clarateach-{workshop}")).await.unwrap();
    let again = provider.create(&spec, &Timeline::default()).await.unwrap();
    assert_ne!(again.instance.id, made.instance.id);
    assert_eq!(host.exec(&container, &["cat", "/workspace/note"]).await.unwrap().trim(), "kept");
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

/// Listing is one call, whatever there is to list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_listing_is_one_call() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    for number in 1..=3 {
        let made =
            provider.create(&common::spec(common::seat(&workshop, number)), &Timeline::default()).await;
        provider.settle(&made.unwrap().instance, common::START_TIMEOUT).await.unwrap();
    }
    for scope in [seats::Scope::All, seats::Scope::Workshop(workshop.clone())] {
        proxy.arm(usize::MAX, Fault::Refused);
        let listed = provider.list(&scope).await.unwrap();
        assert!(listed.iter().filter(|one| one.seat.workshop == *workshop).count() == 3);
        let calls = proxy.calls();
        assert!(calls.len() == 1 && calls[0].starts_with("GET /v1."), "the negotiated version: {calls:?}");
        assert!(calls[0].ends_with("/containers/json"), "{calls:?}");
    }
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_workshop_whose_destroy_failed_at_any_call_can_be_destroyed_again() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    for number in 0.. {
        assert!(number < MANY, "there is no end of calls");
        for seat in [1, 2] {
            let spec = common::spec(common::seat(&workshop, seat));
            provider.create(&spec, &Timeline::default()).await.unwrap();
        }
        proxy.arm(number, Fault::Refused);
        let destroyed = provider.destroy_workshop(&workshop, DataPolicy::Remove).await;
        if proxy.disarm().is_none() {
            destroyed.unwrap();
            break;
        }
        assert!(destroyed.is_err(), "call {number} was not noticed");
        provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
        let remains = host.remains(&workshop).await.unwrap();
        assert!(remains.is_empty(), "call {number}: {remains}");
    }
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_container_that_the_engine_makes_too_late_is_taken_back() {
    let Bench { host, proxy, provider, workshop, .. } = common::bench().await;
    let spec = common::spec(common::seat(&workshop, 1));
    provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    proxy.arm(usize::MAX, Fault::Late);
    provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    let calls = proxy.calls();
    let create = calls.iter().position(|call| call.ends_with("/containers/create")).unwrap();

    proxy.arm(create, Fault::Late);
    let error = provider.create(&spec, &Timeline::default()).await.unwrap_err();
    assert_eq!(error.code(), "engine_unavailable");
    assert!(proxy.disarm().unwrap().ends_with("/containers/create"));
    assert!(host.remains(&workshop).await.unwrap().containers.is_empty());
    let seen = |count: usize| {
        let (host, workshop) = (host.clone(), workshop.clone());
        async move {
            for _ in 0..300 {
                if host.remains(&workshop).await.unwrap().containers.len() == count {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            panic!("never {count} containers");
        }
    };
    seen(1).await;
    seen(0).await;
    // The volume that came with it is ours: nothing is in the way of the next create.
    provider.create(&spec, &Timeline::default()).await.unwrap();
    provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
    let remains = host.remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
}
