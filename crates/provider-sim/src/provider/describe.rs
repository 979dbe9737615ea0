//! A simulated container as the contract shows it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use seats::{Instance, ProviderKind, Status};

use crate::WorldOptions;
use crate::world::{Run, SimInstance};

pub(super) fn describe(found: &SimInstance, options: &WorldOptions) -> Instance {
    let (status, reason) = status(found, options);
    let process = found.process.as_ref().filter(|_| matches!(found.run, Run::Running { .. }));
    Instance {
        id: Some(found.id.clone()),
        seat: found.spec.seat.clone(),
        ip: process.map(|_| found.ip.into()),
        status,
        ports: found.image.ports.clone(),
        endpoints: process.map_or_else(BTreeMap::new, |process| process.endpoints.clone()),
        image: found.spec.image.to_string(),
        provider: ProviderKind::Sim,
        created_at: Some(found.created_at),
        expires_at: None,
        reason,
    }
}

fn status(found: &SimInstance, options: &WorldOptions) -> (Status, Option<String>) {
    let within = options.start_timeout;
    match &found.run {
        Run::Running { answers: true, .. } => (Status::Running, None),
        Run::Running { overdue: false, .. } => (Status::Starting, None),
        Run::Running { overdue: true, .. } => {
            let ports: Vec<_> = found.image.ports.iter().map(u16::to_string).collect();
            let reason = format!(
                "nothing answers on port {} {within:?} after the start; destroy the seat and create it again, or \
                 mend its image",
                ports.join(", ")
            );
            (Status::Error, Some(reason))
        }
        // One that is being made looks just like one whose maker died: its age tells.
        Run::Created => {
            let young = SignedDuration::try_from(within)
                .is_ok_and(|within| Timestamp::now().duration_since(found.created_at) < within);
            if young {
                (Status::Starting, None)
            } else {
                (
                    Status::Error,
                    Some("it was made but never started; create the seat again to start it".into()),
                )
            }
        }
        Run::Exited { code, last_line } => (
            Status::Error,
            Some(format!("the workspace exited with code {code}; its last line was: {last_line}")),
        ),
        Run::Stopped => (Status::Stopped, None),
    }
}
