//! Images that do not do their work, and names that somebody else took.

use std::time::{Duration, Instant};

use seats::{DataPolicy, Instance, ObjectKind, Provider, ProviderError, Scope, Status, Timeline};
use tokio::time::sleep;

use crate::{Context, Stop, TestImage};

pub(super) async fn a_missing_image_leaves_nothing(cx: Context) -> Result<(), Stop> {
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let spec = cx.spec_of(&workshop, 1, TestImage::Missing)?;
    match service.create(cx.request(&spec), cx.patience()).await {
        Err(error) => {
            ensure_eq!(error.code(), "image_unavailable", "the code of {error}");
            ensure!(error.to_string().contains(spec.image.as_str()), "the error names the image: {error}");
        }
        Ok(reply) => return Err(Stop::fail(format!("made from an image that is not there: {reply:?}"))),
    }
    cx.nothing_left(&workshop).await?;
    // The image may as well go between the preparation and the create.
    match cx.provider().create(&spec, &Timeline::default()).await {
        Err(ProviderError::ImageUnavailable { image, .. }) => ensure_eq!(image, spec.image, "the image"),
        other => return Err(Stop::fail(format!("expected an unavailable image, got {other:?}"))),
    }
    cx.nothing_left(&workshop).await
}

pub(super) async fn an_image_that_exits_tells_why(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec_of(&workshop, 1, TestImage::ExitsAtOnce)?;
    let created = cx.create(provider.as_ref(), &spec).await?;
    let settled = provider.settle(&created.instance, cx.patience()).await?;
    let settled = broken(&cx, provider.as_ref(), settled).await?;
    let reason = settled.reason.clone().unwrap_or_default();
    ensure!(reason.contains(&TestImage::EXIT_CODE.to_string()), "the reason has the exit code: {reason:?}");
    ensure!(reason.contains(TestImage::LAST_LINE), "the reason has the last log line: {reason:?}");
    let listed = provider.list(&Scope::Workshop(workshop.clone())).await?;
    ensure_eq!(listed.len(), 1, "a broken seat is listed");
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}

pub(super) async fn a_mute_image_becomes_an_error(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec_of(&workshop, 1, TestImage::Mute)?;
    let created = cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(created.instance.status, Status::Starting, "the status right after the start");
    let settled = provider.settle(&created.instance, cx.harness().start_timeout()).await?;
    let settled = broken(&cx, provider.as_ref(), settled).await?;
    let reason = settled.reason.clone().unwrap_or_default();
    let named = settled.ports.iter().any(|port| reason.contains(&port.to_string()));
    ensure!(named, "the reason names a port of {:?}: {reason:?}", settled.ports);
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}

/// Waits until a seat is in error: a provider may need another look for that, and not a moment more than the
/// start timeout.
async fn broken(cx: &Context, provider: &dyn Provider, settled: Instance) -> Result<Instance, Stop> {
    let deadline = Instant::now() + cx.patience();
    let mut seen = settled;
    while seen.status != Status::Error {
        ensure!(seen.status == Status::Starting, "neither starting nor broken: {seen:?}");
        ensure!(Instant::now() < deadline, "it never becomes an error: {seen:?}");
        sleep(Duration::from_millis(50)).await;
        seen = provider.get(&seen.seat).await?.ok_or_else(|| Stop::fail("the seat is gone"))?;
    }
    Ok(seen)
}

pub(super) async fn a_slow_image_is_waited_for(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let created = cx.create(provider.as_ref(), &cx.spec_of(&workshop, 1, TestImage::Slow)?).await?;
    let early = provider.settle(&created.instance, Duration::ZERO).await?;
    for seen in [&created.instance, &early] {
        // Running only where this test was slower than the image.
        let fine = matches!(seen.status, Status::Starting | Status::Running);
        ensure!(fine, "it is not broken before its time: {seen:?}");
    }
    let seat = cx.running(provider.as_ref(), &created.instance).await?;
    cx.answers(&seat).await
}

pub(super) async fn a_foreign_instance_is_left_alone(cx: Context) -> Result<(), Stop> {
    foreign(cx, ObjectKind::Instance).await
}

pub(super) async fn a_foreign_network_is_left_alone(cx: Context) -> Result<(), Stop> {
    foreign(cx, ObjectKind::Network).await
}

pub(super) async fn a_foreign_volume_is_left_alone(cx: Context) -> Result<(), Stop> {
    foreign(cx, ObjectKind::Volume).await
}

async fn foreign(cx: Context, planted: ObjectKind) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    cx.plant(planted, &spec.seat).await?;
    for _ in 0..2 {
        match cx.provider().create(&spec, &Timeline::default()).await {
            Err(ProviderError::Foreign { kind, name, .. }) => {
                ensure_eq!(kind, planted, "the kind of the foreign object {name}");
            }
            other => return Err(Stop::fail(format!("expected a foreign {planted}, got {other:?}"))),
        }
        cx.nothing_left(&workshop).await?;
        // What is not ours is not there for us: there is nothing to destroy.
        provider.destroy(&spec.seat, DataPolicy::Remove).await?;
        provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
        let listed = provider.list(&Scope::Workshop(workshop.clone())).await?;
        ensure!(listed.is_empty(), "a foreign {planted} is listed: {listed:?}");
        let untouched = cx.harness().foreign_is_untouched(planted, &spec.seat).await?;
        ensure!(untouched, "the foreign {planted} was touched");
    }
    cx.harness().remove_foreign(planted, &spec.seat).await?;
    cx.up(provider.as_ref(), &spec).await?;
    Ok(())
}
