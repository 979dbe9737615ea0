//! Many at once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::poll;
use lifecycle::{ClassReport, ClassRequest, Lifecycle, LimitsRequest, SeatOutcome};
use seats::{
    ApiKey, DataPolicy, Disposition, EnvVars, Instance, Scope, SeatBound, SeatId, Status, WorkshopId,
};

use crate::{Context, Stop};

pub(super) async fn fifty_creates_of_one_seat_make_one(cx: Context) -> Result<(), Stop> {
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let spec = cx.spec(&workshop, 1)?;
    let replies = join_all((0..50).map(|_| service.create(cx.request(&spec), cx.patience()))).await;
    let mut made = 0;
    let mut ids = BTreeSet::new();
    for reply in replies {
        let reply = reply?;
        made += usize::from(reply.disposition == Disposition::Made);
        ensure_eq!(reply.instance.status, Status::Running, "the status of {:?}", reply.instance);
        ids.insert(reply.instance.id);
    }
    ensure_eq!(made, 1, "how many made it");
    ensure_eq!(ids.len(), 1, "how many ids");
    let there = cx.inventory(&workshop).await?;
    ensure_eq!((there.instances.len(), there.volumes.len()), (1, 1), "instances and volumes ({there})");
    Ok(())
}

fn class(cx: &Context, workshop: &WorkshopId, size: u16) -> Result<ClassRequest, Stop> {
    let seats: Result<BTreeSet<SeatId>, _> =
        (1..=size).map(|number| SeatBound::default().seat(number.into())).collect();
    let limits = cx.harness().small();
    Ok(ClassRequest {
        workshop: workshop.clone(),
        seats: seats?,
        image: None,
        env: EnvVars::default(),
        limits: LimitsRequest {
            cpu_millis: Some(limits.cpu_millis),
            memory_mib: Some(limits.memory_mib),
            pids: Some(limits.pids),
        },
        api_key: Some(ApiKey::new("sk-canary-of-the-class".into())?),
        api_keys: BTreeMap::new(),
        prune: None,
    })
}

async fn converge(service: &Lifecycle, class: ClassRequest) -> Result<ClassReport, Stop> {
    service.converge(class)?.finish().await.ok_or_else(|| Stop::fail("the class was lost"))
}

/// The seats of a class that has the wanted outcome throughout.
fn all_are(report: &ClassReport, outcome: SeatOutcome) -> Result<Vec<Instance>, Stop> {
    let mut seats = Vec::new();
    for seat in &report.seats {
        ensure_eq!(seat.outcome, outcome, "the outcome of seat {} ({:?})", seat.seat, seat.reason);
        seats.extend(seat.instance.clone());
    }
    Ok(seats)
}

fn ids(seats: &[Instance]) -> BTreeSet<Option<String>> {
    seats.iter().map(|seat| seat.id.clone()).collect()
}

pub(super) async fn a_class_converges_and_stays(cx: Context) -> Result<(), Stop> {
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let size = cx.harness().class_size();
    let made = all_are(&converge(&service, class(&cx, &workshop, size)?).await?, SeatOutcome::Created)?;
    ensure_eq!(made.len(), usize::from(size), "how many seats");
    let addresses: BTreeSet<_> = made.iter().map(|seat| seat.ip).collect();
    ensure_eq!((ids(&made).len(), addresses.len()), (made.len(), made.len()), "distinct ids and addresses");
    for seat in &made {
        ensure_eq!(seat.status, Status::Running, "the status of seat {}", seat.seat);
        cx.answers(seat).await?;
    }
    let again = all_are(&converge(&service, class(&cx, &workshop, size)?).await?, SeatOutcome::Unchanged)?;
    ensure_eq!(ids(&again), ids(&made), "the ids after converging again");
    // What is missing comes back, and the others are left alone.
    let one = cx.spec(&workshop, 1)?.seat;
    service.destroy(&one, DataPolicy::Remove).await?;
    let report = converge(&service, class(&cx, &workshop, size)?).await?;
    for seat in &report.seats {
        let expected = if seat.seat == one.seat { SeatOutcome::Created } else { SeatOutcome::Unchanged };
        ensure_eq!(seat.outcome, expected, "the outcome of seat {} ({:?})", seat.seat, seat.reason);
    }
    service.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}

pub(super) async fn two_workshops_have_disjoint_networks(cx: Context) -> Result<(), Stop> {
    let (service, one) = (cx.service()?, cx.workshop()?);
    let two = cx.lookalike(&one)?;
    let (in_one, in_two) =
        tokio::join!(converge(&service, class(&cx, &one, 3)?), converge(&service, class(&cx, &two, 3)?));
    let mut seats = all_are(&in_one?, SeatOutcome::Created)?;
    seats.extend(all_are(&in_two?, SeatOutcome::Created)?);
    let addresses: BTreeSet<_> = seats.iter().filter_map(|seat| seat.ip).collect();
    ensure_eq!(addresses.len(), 6, "distinct addresses of {seats:?}");
    let (first, second) = (cx.inventory(&one).await?, cx.inventory(&two).await?);
    ensure_eq!((first.networks.len(), second.networks.len()), (1, 1), "networks of each");
    ensure!(first.networks.is_disjoint(&second.networks), "they share a network: {first}; {second}");
    ensure!(first.instances.is_disjoint(&second.instances), "they share an instance: {first}; {second}");
    Ok(())
}

/// Two hundred creates and destroys of few seats, all asked for in a known order and all under way together: what
/// was asked for last is what is there in the end.
pub(super) async fn the_last_word_of_two_hundred_counts(cx: Context) -> Result<(), Stop> {
    const SEATS: u16 = 4;
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let (cx_ref, service_ref) = (&cx, &service);
    let mut wished = BTreeMap::new();
    let mut under_way = Vec::new();
    // A fixed mixture (a linear congruential generator; Knuth's MMIX constants): a failure can be repeated.
    let mut dice = 0x5eed_u64;
    for number in 0..200_usize {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let spec = cx.spec(&workshop, u16::try_from((dice >> 33) % u64::from(SEATS))? + 1)?;
        let make = (dice >> 40).is_multiple_of(2);
        wished.insert(spec.seat.clone(), (number, make));
        let mut work = Box::pin(async move {
            if make {
                service_ref
                    .create(cx_ref.request(&spec), cx_ref.patience())
                    .await
                    .map(|reply| Some(reply.instance))
            } else {
                service_ref.destroy(&spec.seat, DataPolicy::Remove).await.map(|()| None)
            }
        });
        // The first poll takes the place in line.
        let early = match poll!(&mut work) {
            std::task::Poll::Ready(ended) => Some(ended),
            std::task::Poll::Pending => None,
        };
        under_way.push(async move {
            match early {
                Some(ended) => ended,
                None => work.await,
            }
        });
    }
    let ended = join_all(under_way).await;
    for (seat, (number, make)) in &wished {
        let last = &ended[*number];
        ensure!(last.is_ok(), "the last wish for {seat} (make: {make}) failed: {last:?}");
    }
    for error in ended.iter().filter_map(|result| result.as_ref().err()) {
        // Overtaken by a destroy, before it was made or while it started.
        ensure!(["seat_superseded", "seat_gone"].contains(&error.code()), "an earlier wish failed: {error}");
    }
    let listed = cx.provider().list(&Scope::Workshop(workshop.clone())).await?;
    let there: Vec<_> = listed.iter().map(|seat| &seat.seat).collect();
    let expected: Vec<_> = wished.iter().filter(|(_, (_, make))| *make).map(|(seat, _)| seat).collect();
    ensure_eq!(there, expected, "the seats in the end");
    let left = cx.inventory(&workshop).await?;
    let counts = (left.instances.len(), left.volumes.len());
    ensure_eq!(counts, (expected.len(), expected.len()), "instances and volumes ({left})");
    service.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}

/// Nothing was asked for after the destroy, so nothing may come up again: neither when it comes before the first
/// seat, nor in the middle.
pub(super) async fn a_destroy_overtakes_a_class(cx: Context) -> Result<(), Stop> {
    for in_the_middle in [false, true] {
        let (service, provider, workshop) = (cx.service()?, cx.provider(), cx.workshop()?);
        let scope = Scope::Workshop(workshop.clone());
        let run = service.converge(class(&cx, &workshop, cx.harness().class_size())?)?;
        while in_the_middle && provider.list(&scope).await?.is_empty() && service.load().waiting > 0 {
            tokio::task::yield_now().await;
        }
        service.destroy_workshop(&workshop, DataPolicy::Remove).await?;
        run.finish().await.ok_or_else(|| Stop::fail("the class was lost"))?;
        cx.nothing_left(&workshop).await?;
    }
    Ok(())
}

/// Two services that know nothing of each other work on the same seats. Either may fail; but a seat is one
/// instance, and in the end everything can be removed.
pub(super) async fn two_services_share_a_host(cx: Context) -> Result<(), Stop> {
    let (one, two, workshop) = (cx.service()?, cx.service()?, cx.workshop()?);
    let specs = [cx.spec(&workshop, 1)?, cx.spec(&workshop, 2)?, cx.spec(&workshop, 3)?];
    let provider = cx.provider();
    for round in 0..6 {
        let replies =
            join_all(specs.iter().flat_map(|spec| {
                [&one, &two].map(|service| service.create(cx.request(spec), cx.patience()))
            }))
            .await;
        let listed = provider.list(&Scope::Workshop(workshop.clone())).await?;
        let seats: BTreeSet<_> = listed.iter().map(|seat| &seat.seat).collect();
        ensure_eq!(seats.len(), listed.len(), "instances per seat in {listed:?}");
        for reply in replies.into_iter().flatten() {
            // Nobody destroys in this half, so whoever was told of an instance was told of the one.
            let now = listed.iter().find(|seat| seat.seat == reply.instance.seat);
            let (now, told) = (now.and_then(|seat| seat.id.as_ref()), reply.instance.id.as_ref());
            ensure_eq!(now, told, "the instance of {}", reply.instance.seat);
        }
        for spec in &specs {
            let reply = one.create(cx.request(spec), cx.patience()).await?;
            ensure_eq!(reply.instance.status, Status::Running, "the status of {:?}", reply.instance);
        }
        // One makes while the other removes.
        let removals = specs.iter().map(|spec| two.destroy(&spec.seat, DataPolicy::Remove));
        let creates = specs.iter().map(|spec| one.create(cx.request(spec), cx.patience()));
        let (removed, _) = tokio::join!(join_all(removals), join_all(creates));
        drop(removed);
        let left = cx.inventory(&workshop).await?;
        ensure!(left.instances.len() <= specs.len(), "round {round}: more instances than seats: {left}");
        for spec in &specs {
            two.destroy(&spec.seat, DataPolicy::Remove).await?;
        }
        cx.no_seat_left(&workshop).await?;
    }
    two.destroy_workshop(&workshop, DataPolicy::Remove).await?;
    cx.nothing_left(&workshop).await
}
