//! A class on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lifecycle::{ClassEvent, ClassReport, SeatOutcome, SeatReport};
use seats::{SeatId, Stage, Status, WorkshopId};
use serde::Serialize;
use utoipa::ToSchema;

use super::InstanceBody;
use super::timing::{by_stage, millis};

/// What became of a seat of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SeatOutcome)]
pub(crate) enum Outcome {
    /// It was not there and has been made.
    Created,
    /// It was there as wished.
    Unchanged,
    /// It is there with another spec, and was left alone.
    Conflict,
    /// It could not be made, or it is there and does not work.
    Failed,
    /// It was not wished for and has been destroyed (`prune=true`).
    Destroyed,
    /// It was not wished for and was left alone.
    Surplus,
    /// It is not done yet; the work goes on.
    Pending,
}

impl From<SeatOutcome> for Outcome {
    fn from(outcome: SeatOutcome) -> Self {
        match outcome {
            SeatOutcome::Created => Self::Created,
            SeatOutcome::Unchanged => Self::Unchanged,
            SeatOutcome::Conflict => Self::Conflict,
            SeatOutcome::Failed => Self::Failed,
            SeatOutcome::Destroyed => Self::Destroyed,
            SeatOutcome::Surplus => Self::Surplus,
        }
    }
}

/// How many seats had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClassCounts)]
pub(crate) struct Counts {
    created: usize,
    unchanged: usize,
    conflict: usize,
    failed: usize,
    destroyed: usize,
    surplus: usize,
    pending: usize,
}

impl Counts {
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Conflict => &mut self.conflict,
            Outcome::Failed => &mut self.failed,
            Outcome::Destroyed => &mut self.destroyed,
            Outcome::Surplus => &mut self.surplus,
            Outcome::Pending => &mut self.pending,
        } += 1;
    }
}

/// The answer for one seat of a class.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SeatResult)]
pub(crate) struct SeatResult {
    /// The seat.
    #[schema(minimum = 1, maximum = 9999, examples(1))]
    seat: u16,
    /// What became of it.
    #[schema(inline = false)]
    outcome: Outcome,
    /// The seat as it is now; null when there is none.
    #[schema(required, inline = false)]
    instance: Option<InstanceBody>,
    /// The stable code of the error, when there was one.
    #[schema(required, examples("image_unavailable"))]
    code: Option<&'static str>,
    /// Why it is not as wished, or how far it is, in words a person can act on.
    #[schema(required)]
    reason: Option<String>,
    /// Milliseconds from the start of the class until this answer.
    #[schema(minimum = 0)]
    took_ms: f64,
    /// Milliseconds per finished stage.
    #[schema(value_type = BTreeMap<String, f64>)]
    timings: BTreeMap<&'static str, f64>,
}

impl From<SeatReport> for SeatResult {
    fn from(report: SeatReport) -> Self {
        let starts = report.instance.as_ref().is_some_and(|instance| instance.status == Status::Starting);
        let outcome = match report.outcome {
            // A service that shuts down does not wait for what it has started.
            SeatOutcome::Created | SeatOutcome::Unchanged if starts => Outcome::Pending,
            outcome => outcome.into(),
        };
        Self {
            seat: report.seat.get(),
            outcome,
            instance: report.instance.map(InstanceBody::from),
            code: report.code,
            reason: report.reason,
            took_ms: millis(report.took),
            timings: by_stage(&report.timings),
        }
    }
}

/// The answer for a class.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClassResult)]
pub(crate) struct ClassBody {
    /// The workshop.
    #[schema(examples("rust-101"))]
    workshop: String,
    /// Whether every wished seat is there as wished.
    converged: bool,
    /// How many seats had which outcome.
    #[schema(inline = false)]
    counts: Counts,
    /// Milliseconds since the class began.
    #[schema(minimum = 0)]
    took_ms: f64,
    /// Every seat, by number.
    seats: Vec<SeatResult>,
}

impl ClassBody {
    fn new(workshop: &WorkshopId, converged: bool, took: Duration, seats: Vec<SeatResult>) -> Self {
        let mut counts = Counts::default();
        for seat in &seats {
            counts.count(seat.outcome);
        }
        Self { workshop: workshop.to_string(), converged, counts, took_ms: millis(took), seats }
    }
}

impl From<ClassReport> for ClassBody {
    fn from(report: ClassReport) -> Self {
        let converged = report.converged();
        let ClassReport { workshop, mut seats, took } = report;
        seats.sort_by_key(|seat| seat.seat);
        let seats: Vec<_> = seats.into_iter().map(SeatResult::from).collect();
        let converged = converged && seats.iter().all(|seat| seat.outcome != Outcome::Pending);
        Self::new(&workshop, converged, took, seats)
    }
}

/// A seat entered a stage.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StageEvent)]
pub(crate) struct StageBody {
    /// The seat.
    #[schema(minimum = 1, maximum = 9999, examples(1))]
    pub(crate) seat: u16,
    /// The stage.
    #[schema(value_type = String, examples("image"))]
    pub(crate) stage: &'static str,
    /// How far the stage is, when it tells.
    #[schema(required)]
    pub(crate) note: Option<String>,
}

/// What is known of a class that is not done.
pub(crate) struct ClassProgress {
    workshop: WorkshopId,
    since: Instant,
    wished: BTreeSet<SeatId>,
    stages: BTreeMap<SeatId, (Stage, Option<String>)>,
    done: BTreeMap<SeatId, SeatResult>,
}

impl ClassProgress {
    pub(crate) fn new(workshop: WorkshopId, wished: BTreeSet<SeatId>) -> Self {
        let (stages, done) = (BTreeMap::new(), BTreeMap::new());
        Self { workshop, since: Instant::now(), wished, stages, done }
    }

    /// Notes an event; the end is the caller's.
    pub(crate) fn note(&mut self, event: ClassEvent) {
        match event {
            ClassEvent::Stage { seat, stage, note } => {
                self.stages.insert(seat, (stage, note));
            }
            ClassEvent::Seat(report) => {
                self.done.insert(report.seat, (*report).into());
            }
            ClassEvent::Done(_) => {}
        }
    }

    /// The answer so far: what is not done is `pending`, with the stage that it is in as the reason.
    pub(crate) fn into_body(mut self) -> ClassBody {
        let took = self.since.elapsed();
        for seat in self.wished {
            let stage = self.stages.remove(&seat);
            self.done.entry(seat).or_insert_with(|| SeatResult {
                seat: seat.get(),
                outcome: Outcome::Pending,
                instance: None,
                code: None,
                reason: stage.map(|(stage, note)| match note {
                    Some(note) => format!("in stage {stage}: {note}"),
                    None => format!("in stage {stage}"),
                }),
                took_ms: millis(took),
                timings: BTreeMap::new(),
            });
        }
        ClassBody::new(&self.workshop, false, took, self.done.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use seats::{Instance, ProviderKind, SeatBound, SeatRef};

    use super::*;

    fn seat(number: u64) -> SeatId {
        SeatBound::default().seat(number).unwrap()
    }

    fn report(number: u64, outcome: SeatOutcome) -> SeatReport {
        SeatReport {
            seat: seat(number),
            outcome,
            instance: None,
            code: None,
            reason: None,
            timings: Vec::new(),
            took: Duration::from_millis(5),
        }
    }

    #[test]
    fn a_report_is_counted_and_ordered() {
        let report = ClassReport {
            workshop: "abc".parse().unwrap(),
            seats: vec![report(2, SeatOutcome::Failed), report(1, SeatOutcome::Created)],
            took: Duration::from_millis(7),
        };
        let value = serde_json::to_value(ClassBody::from(report)).unwrap();
        assert_eq!(value["converged"], false);
        assert_eq!((&value["counts"]["created"], &value["counts"]["failed"]), (&1.into(), &1.into()));
        assert_eq!(
            (&value["seats"][0]["seat"], &value["seats"][1]["outcome"]),
            (&1.into(), &"failed".into())
        );
        assert_eq!(value["took_ms"], 7.0);
    }

    #[test]
    fn a_seat_that_still_starts_is_pending() {
        let mut one = report(1, SeatOutcome::Created);
        one.instance = Some(Instance {
            id: None,
            seat: SeatRef::new("abc".parse().unwrap(), seat(1)),
            ip: None,
            status: Status::Starting,
            ports: Vec::new(),
            endpoints: BTreeMap::new(),
            image: "a".to_owned(),
            provider: ProviderKind::Sim,
            created_at: None,
            expires_at: None,
            reason: None,
        });
        let report = ClassReport { workshop: "abc".parse().unwrap(), seats: vec![one], took: Duration::ZERO };
        let value = serde_json::to_value(ClassBody::from(report)).unwrap();
        assert_eq!((&value["converged"], &value["seats"][0]["outcome"]), (&false.into(), &"pending".into()));
    }

    #[test]
    fn what_is_not_done_is_pending() {
        let mut progress = ClassProgress::new("abc".parse().unwrap(), [seat(1), seat(2), seat(3)].into());
        progress.note(ClassEvent::Stage { seat: seat(1), stage: Stage::Image, note: Some("half".into()) });
        progress.note(ClassEvent::Stage { seat: seat(2), stage: Stage::Create, note: None });
        progress.note(ClassEvent::Seat(Box::new(report(2, SeatOutcome::Created))));
        let value = serde_json::to_value(progress.into_body()).unwrap();
        assert_eq!(value["counts"]["pending"], 2);
        assert_eq!(value["seats"][0]["reason"], "in stage image: half");
        assert_eq!(value["seats"][1]["outcome"], "created");
        assert_eq!(value["seats"][2]["reason"], serde_json::Value::Null);
    }
}
