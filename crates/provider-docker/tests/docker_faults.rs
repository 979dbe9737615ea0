//! Every call of a create failed in turn, on a real engine: refused without effect, and done but its answer lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use common::Bench;
use docker_testbed::{Fault, Method};
use seats::{DataPolicy, Disposition, ObjectKind, Provider, ProviderError, Timeline};

/// More calls than a create makes; the loops end when there is no call left to fail.
const MANY: usize = 40;

/// Fails the calls of a create one after the other until there is none left; returns which ones were failed.
async fn every_call_failed(bench: &Bench, fault: Fault) -> Vec<String> {
    let mut failed = Vec::new();
    let spec = common::spec(common::seat(&bench.workshop, 1));
    for number in 0..MANY {
        // A provider that never saw the image and the network asks for both.
        let provider = common::through(&bench.proxy, &bench.host);
        bench.proxy.arm(number, fault);
        let prepared = provider.prepare(&spec, &Timeline::default()).await;
        let made = match prepared {
            Ok(()) => provider.create(&spec, &Timeline::default()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let struck = bench.proxy.disarm();
        let Some(struck) = struck else {
            made.unwrap();
            provider.destroy(&spec.seat, DataPolicy::Remove).await.unwrap();
            return failed;
        };
        assert!(made.is_err(), "{fault:?} {struck} (call {number}) was not noticed");
        let remains = bench.host.remains(&bench.workshop).await.unwrap();
        assert!(remains.is_empty(), "{fault:?} {struck} (call {number}) left {remains}");
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
    let failed = every_call_failed(&bench, Fault::Refused).await;
    assert_covers_the_steps(&failed);
    assert!(bench.host.remains(&bench.workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_lost_answer_leaves_nothing() {
    let bench = common::bench().await;
    let failed = every_call_failed(&bench, Fault::Lost).await;
    assert_covers_the_steps(&failed);
    assert!(bench.host.remains(&bench.workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_failed_create_leaves_the_other_seats_and_kept_data_alone() {
    let Bench { host, proxy, provider, workshop } = common::bench().await;
    let (first, second) =
        (common::spec(common::seat(&workshop, 1)), common::spec(common::seat(&workshop, 2)));
    provider.create(&first, &Timeline::default()).await.unwrap();
    provider.create(&second, &Timeline::default()).await.unwrap();
    provider.destroy(&second.seat, DataPolicy::Keep).await.unwrap();
    let before = host.remains(&workshop).await.unwrap();
    assert_eq!(before.volumes.len(), 2);
    for number in 0.. {
        assert!(number < MANY, "there is no end of calls");
        proxy.arm(number, Fault::Lost);
        let made = provider.create(&second, &Timeline::default()).await;
        if proxy.disarm().is_none() {
            assert_eq!(made.unwrap().disposition, Disposition::Made);
            break;
        }
        assert!(made.is_err());
        assert_eq!(host.remains(&workshop).await.unwrap(), before, "call {number}");
    }
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_destroy_that_failed_at_any_call_can_be_repeated() {
    let Bench { host, proxy, provider, workshop } = common::bench().await;
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
    let Bench { host, proxy, provider, workshop } = common::bench().await;
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

/// Listing is one call, whatever there is to list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_listing_is_one_call() {
    let Bench { host, proxy, provider, workshop } = common::bench().await;
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
    let Bench { host, proxy, provider, workshop } = common::bench().await;
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
    let Bench { host, proxy, provider, workshop } = common::bench().await;
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
