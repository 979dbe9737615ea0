//! Callers that go away, and services that shut down.

use std::time::Duration;

use futures_util::future::join_all;
use lifecycle::LifecycleError;
use seats::Scope;
use tokio::time::timeout;

use crate::{Context, Stop, TestImage};

/// Whenever the caller gives up, the seat is there and works, or nothing of it is.
pub(super) async fn a_cancelled_create_ends_one_way_or_the_other(cx: Context) -> Result<(), Stop> {
    for millis in [0, 1, 5, 20, 100] {
        let (service, workshop) = (cx.service()?, cx.workshop()?);
        let spec = cx.spec(&workshop, 1)?;
        let create = service.create(cx.request(&spec), cx.patience());
        // Either way it is gone after this: answered, or dropped.
        drop(timeout(Duration::from_millis(millis), create).await);
        let running = service.drain(cx.patience()).await;
        ensure_eq!(running, 0, "operations that still run after a drain");
        let provider = cx.provider();
        match provider.get(&spec.seat).await? {
            Some(seat) => {
                let seat = cx.running(provider.as_ref(), &seat).await?;
                cx.answers(&seat).await?;
            }
            None => cx.nothing_left(&workshop).await?,
        }
        let seat = cx.up(provider.as_ref(), &spec).await?;
        cx.answers(&seat).await?;
    }
    Ok(())
}

pub(super) async fn a_drain_lets_running_work_end(cx: Context) -> Result<(), Stop> {
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let mut creates = Vec::new();
    for seat in 1..=3 {
        let request = cx.request(&cx.spec_of(&workshop, seat, TestImage::Slow)?);
        let (service, patience) = (service.clone(), cx.patience());
        creates.push(tokio::spawn(
            async move { (request.seat.clone(), service.create(request, patience).await) },
        ));
    }
    while service.load().working == 0 && creates.iter().any(|create| !create.is_finished()) {
        tokio::task::yield_now().await;
    }
    let running = service.drain(cx.patience()).await;
    ensure_eq!(running, 0, "operations that still run after a drain");
    let listed = cx.provider().list(&Scope::Workshop(workshop.clone())).await?;
    let left = cx.inventory(&workshop).await?;
    ensure_eq!(left.volumes.len(), listed.len(), "volumes for {} seats ({left})", listed.len());
    for ended in join_all(creates).await {
        let (seat, reply) = ended?;
        let there = listed.iter().any(|listed| listed.seat == seat);
        match reply {
            Ok(_) => ensure!(there, "seat {seat} was promised and is not there"),
            Err(LifecycleError::Draining) => ensure!(!there, "seat {seat} was refused and is there"),
            Err(error) => return Err(error.into()),
        }
    }
    let late = service.create(cx.request(&cx.spec(&workshop, 4)?), cx.patience()).await;
    ensure!(matches!(late, Err(LifecycleError::Draining)), "a create after the drain: {late:?}");
    Ok(())
}
