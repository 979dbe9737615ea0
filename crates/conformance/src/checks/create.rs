//! Making a seat, and making it again.

use seats::{DataPolicy, Disposition, Status, Timeline};

use crate::{Context, Stop, TestImage};

pub(super) async fn a_created_seat_runs_and_answers(cx: Context) -> Result<(), Stop> {
    cx.harness().endpoints_are_reachable()?;
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    let created = cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(created.disposition, Disposition::Made, "the first create");
    ensure!(created.instance.id.is_some(), "what is made has an id: {:?}", created.instance);
    let seat = cx.running(provider.as_ref(), &created.instance).await?;
    ensure_eq!(seat.id, created.instance.id, "the id while it settles");
    ensure_eq!(seat.seat, spec.seat, "whose it is");
    ensure_eq!(seat.image, spec.image.as_str(), "the image as it was asked for");
    ensure_eq!(seat.provider, provider.kind(), "the provider");
    ensure_eq!(seat.reason, None, "the reason of a running seat");
    ensure!(seat.ip.is_some(), "a running seat has an address: {seat:?}");
    ensure!(seat.created_at.is_some(), "a running seat has an age: {seat:?}");
    ensure!(!seat.ports.is_empty(), "a running seat has ports: {seat:?}");
    cx.answers(&seat).await?;
    let there = cx.inventory(&workshop).await?;
    let counts = (there.instances.len(), there.networks.len(), there.volumes.len());
    ensure_eq!(counts, (1, 1, 1), "instances, networks and volumes of one seat ({there})");
    Ok(())
}

pub(super) async fn creating_again_finds_the_same(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    let first = cx.up(provider.as_ref(), &spec).await?;
    let before = cx.inventory(&workshop).await?;
    let again = cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(again.disposition, Disposition::Found, "the second create");
    ensure_eq!(again.instance.id, first.id, "the id of the second create");
    ensure_eq!(again.instance.ip, first.ip, "the address of the second create");
    ensure_eq!(again.instance.endpoints, first.endpoints, "the endpoints of the second create");
    ensure_eq!(cx.inventory(&workshop).await?, before, "what exists after the second create");
    let seen = cx.running(provider.as_ref(), &again.instance).await?;
    cx.answers(&seen).await
}

pub(super) async fn creating_again_while_it_starts_finds_the_same(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec_of(&workshop, 1, TestImage::Slow)?;
    let first = cx.create(provider.as_ref(), &spec).await?;
    let again = cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(again.disposition, Disposition::Found, "the second create");
    ensure_eq!(again.instance.id, first.instance.id, "the id of the second create");
    cx.running(provider.as_ref(), &again.instance).await?;
    Ok(())
}

pub(super) async fn another_spelling_of_the_image_is_the_same(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let mut spec = cx.spec(&workshop, 1)?;
    let first = cx.up(provider.as_ref(), &spec).await?;
    spec.image = spec.image.canonical().parse()?;
    let again = provider.create(&spec, &Timeline::default()).await?;
    ensure_eq!(again.disposition, Disposition::Found, "the create with {}", spec.image);
    ensure_eq!(again.instance.id, first.id, "the id");
    Ok(())
}

pub(super) async fn creating_starts_a_stopped_seat(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    let first = cx.up(provider.as_ref(), &spec).await?;
    cx.harness().write_marker(&spec.seat, "kept while stopped").await?;
    cx.harness().stop(&spec.seat).await?;
    let stopped = provider.get(&spec.seat).await?;
    ensure_eq!(
        stopped.map(|seat| (seat.id, seat.status)),
        Some((first.id.clone(), Status::Stopped)),
        "stopped"
    );
    let again = cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(again.disposition, Disposition::Found, "the create of a stopped seat");
    ensure_eq!(again.instance.id, first.id, "the id of a started seat");
    let seen = cx.running(provider.as_ref(), &again.instance).await?;
    cx.answers(&seen).await?;
    let marker = cx.harness().read_marker(&spec.seat).await?;
    ensure_eq!(marker.as_deref(), Some("kept while stopped"), "the data");
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}
