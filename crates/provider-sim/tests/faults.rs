//! Every step failed in turn, engines that go away, and services that die: nothing is left, or what is left can be
//! seen and removed.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{create, seat, spec, up, world};
use provider_sim::{DEFAULT_IMAGE, Fault, SimImage, SimProvider, Step};
use seats::{DataPolicy, Disposition, Provider, ProviderError, Scope, Status, Timeline};

#[tokio::test]
async fn every_step_of_a_create_failed_in_turn_leaves_nothing() {
    for step in Step::CREATE {
        for after in [false, true] {
            let world = world();
            let provider = SimProvider::new(world.clone());
            let fault = Fault::at(step);
            world.fail(if after { fault.after_effect() } else { fault });
            let error = create(&provider, &spec(1)).await.unwrap_err();
            assert_eq!(error.code(), "provider_failed", "{step:?} after={after}: {error}");
            assert!(
                matches!(&error, ProviderError::Failed { stage, .. } if *stage == step.stage()),
                "{error:?}"
            );
            assert!(world.is_empty(), "{step:?} after={after} left {world:?}");
            // The next one goes through.
            assert_eq!(up(&provider, &spec(1)).await.status, Status::Running, "{step:?} after={after}");
        }
    }
}

#[tokio::test]
async fn a_failed_create_leaves_the_others_of_its_workshop_alone() {
    for step in Step::CREATE {
        for after in [false, true] {
            let world = world();
            let provider = SimProvider::new(world.clone());
            let other = up(&provider, &spec(2)).await;
            let before = world.inventory();
            let fault = Fault::at(step).only(&seat(1));
            world.fail(if after { fault.after_effect() } else { fault });
            create(&provider, &spec(1)).await.unwrap_err();
            assert_eq!(world.inventory(), before, "{step:?} after={after}");
            assert_eq!(provider.get(&other.seat).await.unwrap(), Some(other), "{step:?} after={after}");
        }
    }
}

#[tokio::test]
async fn a_failed_create_does_not_touch_kept_data() {
    for step in Step::CREATE {
        let world = world();
        let provider = SimProvider::new(world.clone());
        up(&provider, &spec(1)).await;
        assert!(world.write_file(&seat(1), "homework"));
        provider.destroy(&seat(1), DataPolicy::Keep).await.unwrap();
        world.fail(Fault::at(step).after_effect());
        create(&provider, &spec(1)).await.unwrap_err();
        assert!(world.inventory().instances.is_empty(), "{step:?}: {world:?}");
        assert_eq!(world.read_file(&seat(1)).as_deref(), Some("homework"), "{step:?}");
    }
}

#[tokio::test]
async fn a_stopped_seat_that_fails_to_start_stays_as_it_was() {
    for step in [Step::FindSeat, Step::Start, Step::Inspect] {
        let world = world();
        let provider = SimProvider::new(world.clone());
        let first = up(&provider, &spec(1)).await;
        assert!(world.write_file(&seat(1), "homework") && world.stop(&seat(1)));
        world.fail(Fault::at(step));
        create(&provider, &spec(1)).await.unwrap_err();
        let again = create(&provider, &spec(1)).await.unwrap();
        assert_eq!((again.disposition, again.instance.id), (Disposition::Found, first.id), "{step:?}");
        assert_eq!(world.read_file(&seat(1)).as_deref(), Some("homework"), "{step:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    for step in [Step::Network, Step::Volume, Step::Create, Step::Start] {
        let world = world();
        world.fail(Fault::at(step).host_full());
        let error = create(&SimProvider::new(world.clone()), &spec(1)).await.unwrap_err();
        assert_eq!(error.code(), "host_full", "{step:?}: {error}");
        assert!(world.is_empty(), "{step:?} left {world:?}");
    }
}

#[tokio::test]
async fn a_destroy_that_failed_half_way_can_be_repeated() {
    for step in Step::DESTROY {
        for after in [false, true] {
            for whole_workshop in [false, true] {
                let world = world();
                let provider = SimProvider::new(world.clone());
                up(&provider, &spec(1)).await;
                let destroy = async || {
                    if whole_workshop {
                        provider.destroy_workshop(&seat(1).workshop, DataPolicy::Remove).await
                    } else {
                        provider.destroy(&seat(1), DataPolicy::Remove).await
                    }
                };
                let fault = Fault::at(step);
                world.fail(if after { fault.after_effect() } else { fault });
                let error = destroy().await.unwrap_err();
                assert_eq!(error.code(), "provider_failed", "{step:?} after={after}: {error}");
                destroy().await.unwrap();
                assert!(world.is_empty(), "{step:?} after={after} left {world:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_seat_that_cannot_be_removed_does_not_keep_the_others() {
    let world = world();
    let provider = SimProvider::new(world.clone());
    for number in 1..=3 {
        up(&provider, &spec(number)).await;
    }
    world.fail(Fault::at(Step::RemoveInstance).only(&seat(2)));
    provider.destroy_workshop(&seat(1).workshop, DataPolicy::Remove).await.unwrap_err();
    let listed = provider.list(&Scope::All).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.seat.seat.get()).collect::<Vec<_>>(), [2]);
    provider.destroy_workshop(&seat(1).workshop, DataPolicy::Remove).await.unwrap();
    assert!(world.is_empty(), "{world:?}");
}

#[tokio::test]
async fn what_an_undo_could_not_take_back_is_seen_and_goes_with_a_destroy() {
    for step in Step::DESTROY {
        let world = world();
        let provider = SimProvider::new(world.clone());
        world.fail(Fault::at(Step::Start));
        world.fail(Fault::at(step));
        let error = create(&provider, &spec(1)).await.unwrap_err();
        assert!(error.to_string().contains("start"), "the cause is told, not the undo's: {error}");
        assert!(!world.is_empty(), "{step:?}: the undo did not fail");
        if step == Step::RemoveInstance {
            let seen = provider.get(&seat(1)).await.unwrap().unwrap();
            assert!(matches!(seen.status, Status::Starting | Status::Error), "{seen:?}");
        }
        provider.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
        assert!(world.is_empty(), "{step:?} left {world:?}");
    }
}

#[tokio::test]
async fn an_instance_that_nobody_ever_started_becomes_an_error_and_can_be_started() {
    let world = common::world_with(Duration::ZERO);
    let provider = SimProvider::new(world.clone());
    world.fail(Fault::at(Step::Start));
    world.fail(Fault::at(Step::RemoveInstance));
    create(&provider, &spec(1)).await.unwrap_err();
    let seen = provider.get(&seat(1)).await.unwrap().unwrap();
    assert_eq!(seen.status, Status::Error);
    assert!(seen.reason.unwrap().contains("never started"));
    let created = create(&provider, &spec(1)).await.unwrap();
    assert_eq!((created.disposition, created.instance.id), (Disposition::Found, seen.id));
    assert_eq!(up(&provider, &spec(1)).await.status, Status::Running);
}

#[tokio::test]
async fn an_engine_that_is_down_is_named_and_found_again() {
    let world = world();
    let provider = SimProvider::new(world.clone());
    let made = up(&provider, &spec(1)).await;
    let workshop = &made.seat.workshop;
    world.set_down(true);
    let errors = [
        create(&provider, &spec(1)).await.unwrap_err(),
        provider.create(&spec(2), &Timeline::default()).await.unwrap_err(),
        provider.destroy(&made.seat, DataPolicy::Remove).await.unwrap_err(),
        provider.destroy_workshop(workshop, DataPolicy::Remove).await.unwrap_err(),
        provider.list(&Scope::All).await.unwrap_err(),
        provider.get(&made.seat).await.unwrap_err(),
        provider.check().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "engine_unavailable", "{error}");
    }
    // Waiting for a seat that is started outlasts an engine that is away.
    let settling = provider.settle(&made, Duration::from_secs(600));
    let (settled, ()) = tokio::join!(settling, async { world.set_down(false) });
    assert_eq!(settled.unwrap().status, Status::Running);
    assert!(provider.check().await.is_ok());
    assert_eq!(provider.list(&Scope::All).await.unwrap(), [made]);
}

#[tokio::test]
async fn an_engine_that_goes_down_at_any_step_leaves_nothing_that_a_destroy_does_not_find() {
    for step in Step::CREATE {
        for after in [false, true] {
            let world = world();
            let provider = Arc::new(SimProvider::new(world.clone()));
            let fault = Fault::at(step);
            let gate = world.hang(if after { fault.after_effect() } else { fault });
            let work = tokio::spawn({
                let provider = provider.clone();
                async move { create(&provider, &spec(1)).await }
            });
            gate.reached(1).await;
            world.set_down(true);
            gate.release();
            let ended = work.await.unwrap();
            world.set_down(false);
            // The answer of the last step may have come before the engine went.
            match ended {
                Ok(_) => assert!(step == Step::Inspect && after, "{step:?} after={after}"),
                Err(error) => assert_eq!(error.code(), "engine_unavailable", "{step:?} after={after}"),
            }
            let left = world.inventory();
            let listed = provider.list(&Scope::All).await.unwrap();
            assert_eq!(listed.len(), left.instances.len(), "{step:?} after={after}");
            assert_eq!(up(&provider, &spec(1)).await.status, Status::Running, "{step:?} after={after}");
            provider.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
            assert!(world.is_empty(), "{step:?} after={after} left {world:?}");
        }
    }
}

#[tokio::test]
async fn a_service_that_dies_at_any_step_is_finished_or_removed_by_the_next() {
    for step in Step::CREATE {
        for after in [false, true] {
            for finish in [false, true] {
                let world = world();
                let fault = Fault::at(step);
                let gate = world.hang(if after { fault.after_effect() } else { fault });
                let dying = SimProvider::new(world.clone());
                let work = tokio::spawn(async move { create(&dying, &spec(1)).await.map(drop) });
                gate.reached(1).await;
                work.abort();
                assert!(work.await.unwrap_err().is_cancelled());
                drop(gate);
                world.clear_faults();

                let next = SimProvider::new(world.clone());
                if finish {
                    assert_eq!(up(&next, &spec(1)).await.status, Status::Running, "{step:?} after={after}");
                    assert_eq!(world.inventory().instances.len(), 1, "{step:?} after={after}");
                }
                next.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
                assert!(world.is_empty(), "{step:?} after={after} finish={finish} left {world:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_image_is_pulled_once_for_all_that_wait() {
    let world = world();
    let provider = Arc::new(SimProvider::new(world.clone()));
    let image = "registry.example/course:1".parse().unwrap();
    world.add_pullable(&image, SimImage::good(), Duration::from_millis(20));
    let mut waiting = tokio::task::JoinSet::new();
    for number in 1..=30 {
        let (provider, mut spec) = (provider.clone(), spec(number));
        spec.image = image.clone();
        waiting.spawn(async move { create(&provider, &spec).await.map(drop) });
    }
    for result in waiting.join_all().await {
        result.unwrap();
    }
    assert_eq!(world.calls(Step::PullImage), 1);
    assert_eq!(world.inventory().instances.len(), 30);
}

#[tokio::test]
async fn addresses_that_run_out_are_named_and_leave_nothing() {
    let world =
        common::world_of(provider_sim::WorldOptions { networks: 1, addresses: 1, ..common::options() });
    let provider = SimProvider::new(world.clone());
    up(&provider, &spec(1)).await;
    let before = world.inventory();
    let elsewhere = seats::SeatSpec { seat: common::seat_of("other", 1), ..spec(1) };
    for wish in [spec(2), elsewhere.clone()] {
        let error = create(&provider, &wish).await.unwrap_err();
        assert_eq!(error.code(), "addresses_exhausted", "{error}");
        assert_eq!(world.inventory(), before);
    }
    provider.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
    up(&provider, &elsewhere).await;
}

#[tokio::test]
async fn listing_does_not_wait_for_a_create_that_hangs() {
    let world = world();
    let provider = Arc::new(SimProvider::new(world.clone()));
    for step in Step::CREATE {
        let gate = world.hang(Fault::at(step).after_effect());
        let work = tokio::spawn({
            let provider = provider.clone();
            async move { create(&provider, &spec(1)).await.map(drop) }
        });
        gate.reached(1).await;
        provider.list(&Scope::All).await.unwrap();
        provider.get(&seat(1)).await.unwrap();
        gate.release();
        work.await.unwrap().unwrap();
        provider.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
    }
}

#[tokio::test]
async fn a_seat_removed_while_it_starts_is_gone_and_not_late() {
    let world = world();
    let provider = Arc::new(SimProvider::new(world.clone()));
    world.add_image(&DEFAULT_IMAGE.parse().unwrap(), SimImage::mute());
    let created = create(&provider, &spec(1)).await.unwrap();
    let settling = tokio::spawn({
        let provider = provider.clone();
        async move { provider.settle(&created.instance, Duration::from_secs(600)).await }
    });
    provider.destroy(&seat(1), DataPolicy::Remove).await.unwrap();
    assert_eq!(settling.await.unwrap().unwrap_err().code(), "seat_gone");
}

#[tokio::test]
async fn a_workspace_that_crashes_says_why_and_starts_again() {
    let world = world();
    let provider = SimProvider::new(world.clone());
    up(&provider, &spec(1)).await;
    assert!(world.crash(&seat(1), 137, "out of memory"));
    let seen = provider.get(&seat(1)).await.unwrap().unwrap();
    let reason = seen.reason.unwrap();
    assert!(
        seen.status == Status::Error && reason.contains("137") && reason.contains("out of memory"),
        "{reason}"
    );
    assert_eq!(up(&provider, &spec(1)).await.id, seen.id);
}

#[tokio::test]
async fn a_seat_that_is_there_needs_its_image_no_more() {
    let world = world();
    let provider = SimProvider::new(world.clone());
    let spec = spec(1);
    up(&provider, &spec).await;
    world.remove_image(&spec.image);
    provider.prepare(&spec, &Timeline::default()).await.unwrap();
    let again = provider.create(&spec, &Timeline::default()).await.unwrap();
    assert_eq!(again.disposition, Disposition::Found);
}
