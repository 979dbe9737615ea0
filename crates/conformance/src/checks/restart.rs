//! State lives in the infrastructure: a new service knows everything.

use std::time::Duration;

use seats::{ApiKey, DataPolicy, Disposition, ProviderError, Scope, SpecDifference, Timeline};
use tokio::time::sleep;

use crate::{Context, Stop};

pub(super) async fn a_restarted_service_knows_every_seat(cx: Context) -> Result<(), Stop> {
    let (before, workshop) = (cx.provider(), cx.workshop()?);
    let mut spec = cx.spec(&workshop, 1)?;
    spec.env.insert("COURSE", "restart".into())?;
    spec.api_key = Some(ApiKey::new("sk-canary-restart".into())?);
    let made = cx.up(before.as_ref(), &spec).await?;
    cx.up(before.as_ref(), &cx.spec(&workshop, 2)?).await?;
    let scope = Scope::Workshop(workshop.clone());
    let listed = before.list(&scope).await?;
    drop(before);

    let after = cx.provider();
    ensure_eq!(after.list(&scope).await?, listed, "the list after a restart");
    ensure_eq!(after.get(&spec.seat).await?.as_ref(), Some(&made), "the seat after a restart");
    let again = cx.create(after.as_ref(), &spec).await?;
    ensure_eq!(again.disposition, Disposition::Found, "the create after a restart");
    ensure_eq!(again.instance.id, made.id, "the id after a restart");
    // Every part of the wish was remembered, the secret one too.
    let mut other = spec.clone();
    other.api_key = Some(ApiKey::new("sk-canary-other".into())?);
    match after.create(&other, &Timeline::default()).await {
        Err(ProviderError::Conflict { differences, .. }) => {
            ensure_eq!(differences, [SpecDifference::ApiKey], "the differences after a restart");
        }
        other => return Err(Stop::fail(format!("expected a conflict, got {other:?}"))),
    }
    cx.answers(&made).await?;
    after.destroy(&spec.seat, DataPolicy::Remove).await?;
    after.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}

/// A service that dies in a create leaves some of it; the next service finishes the seat or removes it. To die is
/// to lose the task at a point that nobody chose, so several are tried.
pub(super) async fn a_service_killed_in_the_middle_leaves_nothing_unknown(cx: Context) -> Result<(), Stop> {
    for (round, millis) in [0, 1, 3, 10, 30, 100, 300].into_iter().enumerate() {
        let workshop = cx.workshop()?;
        let spec = cx.spec(&workshop, 1)?;
        let (dying, wish) = (cx.provider(), spec.clone());
        let service = tokio::spawn(async move {
            let timeline = Timeline::default();
            drop(dying.prepare(&wish, &timeline).await);
            drop(dying.create(&wish, &timeline).await);
        });
        sleep(Duration::from_millis(millis)).await;
        service.abort();
        drop(service.await);

        let next = cx.provider();
        if round % 2 == 0 {
            let seat = cx.up(next.as_ref(), &spec).await?;
            cx.answers(&seat).await?;
            let there = cx.inventory(&workshop).await?;
            ensure_eq!(
                (there.instances.len(), there.volumes.len()),
                (1, 1),
                "instances and volumes ({there})"
            );
            next.destroy(&spec.seat, DataPolicy::Remove).await?;
            cx.no_seat_left(&workshop).await?;
        }
        // On the other rounds the clean-up is what removes it.
    }
    Ok(())
}
