//! Removing seats and workshops.

use std::time::{Duration, Instant};

use seats::{DataPolicy, Scope, SeatSpec};
use tokio::time::sleep;

use crate::{Context, Stop, TestImage, http};

pub(super) async fn destroy_leaves_nothing(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let (one, two) = (cx.spec(&workshop, 1)?, cx.spec(&workshop, 11)?);
    let gone = cx.up(provider.as_ref(), &one).await?;
    let stays = cx.up(provider.as_ref(), &two).await?;
    provider.destroy(&one.seat, DataPolicy::Remove).await?;
    let listed = provider.list(&Scope::Workshop(workshop.clone())).await?;
    let ids: Vec<_> = listed.iter().map(|seat| &seat.id).collect();
    ensure_eq!(ids, [&stays.id], "who is left");
    let left = cx.inventory(&workshop).await?;
    ensure_eq!((left.instances.len(), left.volumes.len()), (1, 1), "instances and volumes ({left})");
    cx.answers(&stays).await?;
    silent(&cx, gone.endpoint().unwrap_or_default()).await?;
    provider.destroy(&two.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}

/// Waits until nothing answers at an endpoint: sockets close a moment after the instance is gone.
async fn silent(cx: &Context, endpoint: &str) -> Result<(), Stop> {
    /// A seat that is gone may as well swallow packets as refuse them.
    const ONE_TRY: Duration = Duration::from_secs(3);
    if cx.harness().endpoints_are_reachable().is_err() {
        return Ok(());
    }
    let deadline = Instant::now() + cx.patience();
    while http::answers(endpoint, ONE_TRY).await {
        ensure!(Instant::now() < deadline, "{endpoint} still answers");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub(super) async fn destroying_what_is_not_there_is_success(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    provider.destroy(&spec.seat, DataPolicy::Keep).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Keep).await?;
    cx.nothing_left(&workshop).await?;
    cx.create(provider.as_ref(), &spec).await?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}

pub(super) async fn kept_data_comes_back(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let (one, two) = (cx.spec(&workshop, 1)?, cx.spec(&workshop, 2)?);
    for (spec, text) in [(&one, "homework of one"), (&two, "homework of two")] {
        cx.up(provider.as_ref(), spec).await?;
        cx.harness().write_marker(&spec.seat, text).await?;
        provider.destroy(&spec.seat, DataPolicy::Keep).await?;
    }
    let kept = cx.inventory(&workshop).await?;
    ensure_eq!((kept.instances.len(), kept.volumes.len()), (0, 2), "instances and volumes ({kept})");
    ensure!(provider.list(&Scope::Workshop(workshop.clone())).await?.is_empty(), "kept data is not a seat");
    // A seat with another spec gets its data all the same.
    let changed =
        SeatSpec { limits: seats::Limits { pids: one.limits.pids + 1, ..one.limits }, ..one.clone() };
    for (spec, text) in [(&changed, "homework of one"), (&two, "homework of two")] {
        cx.up(provider.as_ref(), spec).await?;
        let marker = cx.harness().read_marker(&spec.seat).await?;
        ensure_eq!(marker.as_deref(), Some(text), "the data of seat {}", spec.seat);
    }
    Ok(())
}

pub(super) async fn removed_data_is_gone(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    cx.up(provider.as_ref(), &spec).await?;
    cx.harness().write_marker(&spec.seat, "of somebody else").await?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.up(provider.as_ref(), &spec).await?;
    ensure_eq!(cx.harness().read_marker(&spec.seat).await?, None, "the data of a new seat");
    // Data that was kept first goes with a later removal, though no instance is there any more.
    cx.harness().write_marker(&spec.seat, "of somebody else").await?;
    provider.destroy(&spec.seat, DataPolicy::Keep).await?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}

pub(super) async fn destroy_workshop_removes_everything(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let other = cx.lookalike(&workshop)?;
    let kept = cx.spec(&workshop, 1)?;
    cx.create(provider.as_ref(), &kept).await?;
    provider.destroy(&kept.seat, DataPolicy::Keep).await?;
    for seat in [2, 10] {
        cx.create(provider.as_ref(), &cx.spec(&workshop, seat)?).await?;
    }
    let bystander = cx.up(provider.as_ref(), &cx.spec(&other, 1)?).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await?;
    ensure!(provider.list(&Scope::Workshop(workshop)).await?.is_empty(), "the list still has seats");
    cx.answers(&bystander).await?;
    ensure_eq!(provider.get(&bystander.seat).await?, Some(bystander), "a seat of another workshop");
    Ok(())
}

pub(super) async fn destroy_workshop_can_keep_data(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    cx.up(provider.as_ref(), &spec).await?;
    cx.harness().write_marker(&spec.seat, "until next week").await?;
    cx.create(provider.as_ref(), &cx.spec(&workshop, 2)?).await?;
    provider.destroy_workshop(&workshop, DataPolicy::Keep).await?;
    let kept = cx.inventory(&workshop).await?;
    let counts = (kept.instances.len(), kept.networks.len(), kept.volumes.len());
    ensure_eq!(counts, (0, 0, 2), "instances, networks and volumes ({kept})");
    cx.up(provider.as_ref(), &spec).await?;
    let marker = cx.harness().read_marker(&spec.seat).await?;
    ensure_eq!(marker.as_deref(), Some("until next week"), "the data");
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}

pub(super) async fn a_stubborn_seat_is_destroyed(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec_of(&workshop, 1, TestImage::Stubborn)?;
    cx.up(provider.as_ref(), &spec).await?;
    provider.destroy(&spec.seat, DataPolicy::Remove).await?;
    cx.no_seat_left(&workshop).await
}
