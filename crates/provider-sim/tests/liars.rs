//! The suite is only worth something if it fails: providers that break one promise each, and the check that sees it.

mod harness;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use conformance::{Verdict, all, judge};
use harness::served_by;
use provider_sim::{SimProvider, World, instance_name};
use seats::{
    Created, DataPolicy, Disposition, Instance, ObjectKind, Provider, ProviderError, ProviderKind, Scope,
    SeatRef, SeatSpec, SpecDifference, Status, Survey, Timeline, WorkshopId,
};

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    KeepsData,
    LosesData,
    IgnoresTheKey,
    MakesItAnew,
    ClaimsToRun,
    ListsBackwards,
    ListsEverything,
    RemembersInMemory,
    RemovesForeign,
    TellsTheKey,
    OverlooksKeptData,
    OverlooksTheLast,
    ForgetsTheImage,
    StopsAtAbsent,
    HasNoReason,
}

/// Each lie and the checks that must not pass.
const CAUGHT_BY: &[(Lie, &[&str])] = &[
    (Lie::KeepsData, &["destroy_leaves_nothing", "removed_data_is_gone"]),
    (Lie::LosesData, &["kept_data_comes_back", "destroy_workshop_can_keep_data"]),
    (Lie::IgnoresTheKey, &["another_api_key_is_a_conflict", "a_restarted_service_knows_every_seat"]),
    (Lie::MakesItAnew, &["creating_again_finds_the_same", "fifty_creates_of_one_seat_make_one"]),
    (Lie::ClaimsToRun, &["a_mute_image_becomes_an_error", "an_image_that_exits_tells_why"]),
    (Lie::ListsBackwards, &["a_list_is_in_numeric_order"]),
    (Lie::ListsEverything, &["a_list_keeps_to_its_scope"]),
    (Lie::RemembersInMemory, &["a_restarted_service_knows_every_seat"]),
    (Lie::RemovesForeign, &["a_foreign_instance_is_left_alone"]),
    (Lie::TellsTheKey, &["no_secret_gets_out"]),
    (Lie::OverlooksKeptData, &["destroy_workshop_removes_everything"]),
    (Lie::OverlooksTheLast, &["destroy_workshop_removes_everything", "a_destroy_overtakes_a_class"]),
    (Lie::ForgetsTheImage, &["a_missing_image_leaves_nothing"]),
    (Lie::StopsAtAbsent, &["destroying_what_is_not_there_is_success"]),
    (Lie::HasNoReason, &["a_mute_image_becomes_an_error", "an_image_that_exits_tells_why"]),
];

struct Liar {
    lie: Lie,
    honest: SimProvider,
    known: Mutex<BTreeSet<SeatRef>>,
}

impl Liar {
    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    fn data(&self, wished: DataPolicy) -> DataPolicy {
        match self.lie {
            Lie::KeepsData => DataPolicy::Keep,
            Lie::LosesData => DataPolicy::Remove,
            _ => wished,
        }
    }

    fn show(&self, mut instance: Instance) -> Instance {
        match self.lie {
            Lie::ClaimsToRun => instance.status = Status::Running,
            Lie::HasNoReason => instance.reason = None,
            Lie::TellsTheKey => {
                let environment = self.honest.world().environment(&instance.seat).unwrap_or_default();
                instance.image = environment.get("ANTHROPIC_API_KEY").cloned().unwrap_or(instance.image);
            }
            _ => {}
        }
        instance
    }
}

#[async_trait]
impl Provider for Liar {
    fn kind(&self) -> ProviderKind {
        self.honest.kind()
    }

    async fn prepare(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<(), ProviderError> {
        self.honest.prepare(spec, timeline).await
    }

    async fn create(&self, spec: &SeatSpec, timeline: &Timeline) -> Result<Created, ProviderError> {
        if self.is(Lie::MakesItAnew) {
            self.honest.destroy(&spec.seat, DataPolicy::Keep).await?;
        }
        if self.is(Lie::RemovesForeign) {
            self.honest.world().remove_foreign(ObjectKind::Instance, &instance_name(&spec.seat));
        }
        if self.is(Lie::RemembersInMemory)
            && let Ok(mut known) = self.known.lock()
        {
            known.insert(spec.seat.clone());
        }
        let created = match self.honest.create(spec, timeline).await {
            Err(ProviderError::Conflict { differences, seat })
                if self.is(Lie::IgnoresTheKey) && differences == [SpecDifference::ApiKey] =>
            {
                let instance = self.honest.get(&seat).await?.ok_or(ProviderError::Gone { seat })?;
                Created { instance, disposition: Disposition::Found }
            }
            Err(ProviderError::ImageUnavailable { detail, .. }) if self.is(Lie::ForgetsTheImage) => {
                return Err(ProviderError::HostFull { for_whom: spec.seat.to_string(), detail });
            }
            other => other?,
        };
        Ok(Created { instance: self.show(created.instance), ..created })
    }

    async fn settle(&self, instance: &Instance, within: Duration) -> Result<Instance, ProviderError> {
        Ok(self.show(self.honest.settle(instance, within).await?))
    }

    async fn destroy(&self, seat: &SeatRef, data: DataPolicy) -> Result<(), ProviderError> {
        if self.is(Lie::StopsAtAbsent) && self.honest.get(seat).await?.is_none() {
            return Err(ProviderError::Gone { seat: seat.clone() });
        }
        self.honest.destroy(seat, self.data(data)).await
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<Instance>, ProviderError> {
        let scope = if self.is(Lie::ListsEverything) { &Scope::All } else { scope };
        let mut listed = self.honest.list(scope).await?;
        if self.is(Lie::ListsBackwards) {
            listed.reverse();
        }
        if self.is(Lie::RemembersInMemory)
            && let Ok(known) = self.known.lock()
        {
            listed.retain(|instance| known.contains(&instance.seat));
        }
        Ok(listed.into_iter().map(|instance| self.show(instance)).collect())
    }

    async fn get(&self, seat: &SeatRef) -> Result<Option<Instance>, ProviderError> {
        Ok(self.honest.get(seat).await?.map(|instance| self.show(instance)))
    }

    async fn destroy_workshop(&self, workshop: &WorkshopId, data: DataPolicy) -> Result<(), ProviderError> {
        let skipped = match self.lie {
            Lie::OverlooksKeptData => 0,
            Lie::OverlooksTheLast => 1,
            _ => return self.honest.destroy_workshop(workshop, self.data(data)).await,
        };
        for instance in self.honest.list(&Scope::Workshop(workshop.clone())).await?.iter().rev().skip(skipped)
        {
            self.honest.destroy(&instance.seat, data).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<Survey, ProviderError> {
        self.honest.check().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_promise_is_seen() {
    for (lie, checks) in CAUGHT_BY {
        for name in *checks {
            let check = all().iter().find(|check| check.name == *name).unwrap();
            let service = |world: World| -> Arc<dyn Provider> {
                Arc::new(Liar { lie: *lie, honest: SimProvider::new(world), known: Mutex::default() })
            };
            let harness = served_by(service).unwrap();
            let verdict = judge(*check, Arc::new(harness)).await;
            assert!(matches!(verdict, Verdict::Failed(_)), "{lie:?} passes {name}: {verdict}");
            println!("{lie:?} in {name}: {verdict}");
        }
    }
}
