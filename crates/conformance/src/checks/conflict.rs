//! The same seat with another wish: refused, named, and nothing changed.

use seats::{ApiKey, ProviderError, SeatSpec, SpecDifference, Timeline};

use crate::{Context, Stop, TestImage};

pub(super) async fn another_image_is_a_conflict(cx: Context) -> Result<(), Stop> {
    let other = cx.harness().image(TestImage::Other)?;
    conflict(cx, &[SpecDifference::Image], |spec| {
        spec.image = other;
        Ok(())
    })
    .await
}

pub(super) async fn another_environment_is_a_conflict(cx: Context) -> Result<(), Stop> {
    conflict(cx.clone(), &[SpecDifference::Env], |spec| Ok(spec.env.insert("COURSE", "another".into())?))
        .await?;
    // One variable more, and one less.
    conflict(cx.clone(), &[SpecDifference::Env], |spec| Ok(spec.env.insert("MORE", String::new())?)).await?;
    conflict(cx, &[SpecDifference::Env], |spec| {
        spec.env = seats::EnvVars::default();
        Ok(())
    })
    .await
}

pub(super) async fn other_limits_are_a_conflict(cx: Context) -> Result<(), Stop> {
    let changes: [fn(&mut SeatSpec); 3] = [
        |spec| spec.limits.cpu_millis += 10,
        |spec| spec.limits.memory_mib += 1,
        |spec| spec.limits.pids += 1,
    ];
    for change in changes {
        conflict(cx.clone(), &[SpecDifference::Limits], |spec| {
            change(spec);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn another_api_key_is_a_conflict(cx: Context) -> Result<(), Stop> {
    conflict(cx.clone(), &[SpecDifference::ApiKey], |spec| {
        spec.api_key = Some(ApiKey::new("sk-canary-another".into())?);
        Ok(())
    })
    .await?;
    conflict(cx, &[SpecDifference::ApiKey], |spec| {
        spec.api_key = None;
        Ok(())
    })
    .await
}

pub(super) async fn a_conflict_names_every_difference(cx: Context) -> Result<(), Stop> {
    use SpecDifference::{ApiKey as Key, Env, Image, Limits};
    let other = cx.harness().image(TestImage::Other)?;
    conflict(cx, &[Image, Env, Limits, Key], |spec| {
        spec.image = other;
        spec.env.insert("MORE", "x".into())?;
        spec.limits.pids += 1;
        spec.api_key = None;
        Ok(())
    })
    .await
}

/// Makes a seat, asks for it with a change, and expects exactly these differences and an unchanged seat.
async fn conflict(
    cx: Context,
    expected: &[SpecDifference],
    change: impl FnOnce(&mut SeatSpec) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let mut spec = cx.spec(&workshop, 1)?;
    spec.env.insert("COURSE", "first".into())?;
    spec.api_key = Some(ApiKey::new("sk-canary-first".into())?);
    let first = cx.up(provider.as_ref(), &spec).await?;
    let before = cx.inventory(&workshop).await?;
    let mut other = spec.clone();
    change(&mut other)?;
    match provider.create(&other, &Timeline::default()).await {
        Err(ProviderError::Conflict { seat, mut differences }) => {
            differences.sort_unstable();
            ensure_eq!(seat, spec.seat, "whose conflict");
            ensure_eq!(differences, expected, "the differences");
        }
        other => return Err(Stop::fail(format!("expected a conflict, got {other:?}"))),
    }
    ensure_eq!(cx.inventory(&workshop).await?, before, "what exists after a conflict");
    let again = cx.up(provider.as_ref(), &spec).await?;
    ensure_eq!(again.id, first.id, "the id after a conflict");
    cx.answers(&again).await
}
