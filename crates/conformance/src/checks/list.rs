//! Looking at seats.

use seats::{Instance, Scope, SeatRef, WorkshopId};

use crate::{Context, Stop};

fn numbers(listed: &[Instance]) -> Vec<u16> {
    listed.iter().map(|instance| instance.seat.seat.get()).collect()
}

pub(super) async fn a_list_is_in_numeric_order(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    for seat in [10, 1, 2] {
        cx.create(provider.as_ref(), &cx.spec(&workshop, seat)?).await?;
    }
    let listed = provider.list(&Scope::Workshop(workshop)).await?;
    ensure_eq!(numbers(&listed), [1, 2, 10], "the order of a list");
    Ok(())
}

pub(super) async fn a_list_keeps_to_its_scope(cx: Context) -> Result<(), Stop> {
    let (provider, one) = (cx.provider(), cx.workshop()?);
    let two = cx.lookalike(&one)?;
    for (workshop, seat) in [(&one, 2), (&two, 1), (&one, 1), (&two, 3)] {
        cx.create(provider.as_ref(), &cx.spec(workshop, seat)?).await?;
    }
    let listed = provider.list(&Scope::Workshop(one.clone())).await?;
    ensure_eq!(numbers(&listed), [1, 2], "the seats of {one}");
    ensure!(listed.iter().all(|seat| seat.seat.workshop == one), "a seat of another workshop: {listed:?}");
    let listed = provider.list(&Scope::Workshop(two.clone())).await?;
    ensure_eq!(numbers(&listed), [1, 3], "the seats of {two}");
    let listed = provider.list(&Scope::Workshop(cx.workshop()?)).await?;
    ensure!(listed.is_empty(), "an unknown workshop has seats: {listed:?}");
    // Others may run seats on the same host: only ours are compared.
    let all = provider.list(&Scope::All).await?;
    let ours: Vec<SeatRef> = all
        .into_iter()
        .map(|instance| instance.seat)
        .filter(|seat| seat.workshop == one || seat.workshop == two)
        .collect();
    let expected = |workshop: &WorkshopId, seat| cx.spec(workshop, seat).map(|spec| spec.seat);
    let expected = [expected(&one, 1)?, expected(&one, 2)?, expected(&two, 1)?, expected(&two, 3)?];
    ensure_eq!(ours, expected, "the list of everything");
    Ok(())
}

pub(super) async fn get_sees_what_list_sees(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    let missing = provider.get(&spec.seat).await?;
    ensure!(missing.is_none(), "a seat that was never made: {missing:?}");
    let made = cx.up(provider.as_ref(), &spec).await?;
    let got = provider.get(&spec.seat).await?;
    ensure_eq!(got.as_ref(), Some(&made), "what get sees");
    let listed = provider.list(&Scope::Workshop(workshop.clone())).await?;
    let ids: Vec<_> = listed.iter().map(|seat| (seat.id.clone(), seat.ip, seat.status)).collect();
    ensure_eq!(ids, [(made.id.clone(), made.ip, made.status)], "what list sees");
    let other = provider.get(&cx.spec(&workshop, 2)?.seat).await?;
    ensure!(other.is_none(), "another seat: {other:?}");
    Ok(())
}
