//! What a record, a VM, its agent and its ports tell of a seat.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use guest_protocol::{Health, Phase as GuestPhase, Workload, WorkloadState};
use hostnet::PortState;
use jiff::Timestamp;
use seats::workspace::{dying, order_ports};
use seats::{Instance, ProviderKind, SeatRef, Status};

use crate::core::Core;
use crate::live::Live;
use crate::locks;
use crate::records::{Phase, SeatRecord, Unreadable, Wiring};
use crate::vmm::Exit;

type Judgement = (Status, Option<String>);

impl Core {
    /// A seat that has just been started.
    pub(crate) fn fresh(&self, record: &SeatRecord, live: &Live) -> Instance {
        live.went_silent();
        instance(record, (Status::Starting, Some("it has just been started".to_owned())))
    }

    /// A seat as it is now; nothing when only its data is there.
    pub(crate) async fn seen(&self, seat: &SeatRef) -> Option<Instance> {
        match self.record(seat) {
            Ok(None) => None,
            Ok(Some(record)) if record.is_kept() => None,
            Ok(Some(record)) => Some(self.judged(&record).await),
            Err(why) => Some(of_unreadable(seat, &why)),
        }
    }

    /// A seat with a record, probed unless it answered lately.
    pub(crate) async fn judged(&self, record: &SeatRecord) -> Instance {
        instance(record, self.judgement(record).await)
    }

    async fn judgement(&self, record: &SeatRecord) -> Judgement {
        let seat = record.of();
        let busy = |now: &str, interrupted: &str| {
            if locks::is_held(&self.state.seat_lock(&seat)) {
                (Status::Starting, Some(now.to_owned()))
            } else {
                (Status::Error, Some(interrupted.to_owned()))
            }
        };
        match record.phase {
            Phase::Creating => busy(
                "it is being made",
                "its making was interrupted; create the seat again to finish it, or destroy it",
            ),
            Phase::Starting => busy(
                "it is being started",
                "its start was interrupted; create the seat again to start it, or destroy it",
            ),
            Phase::Destroying { .. } => {
                busy("it is being removed", "its removal was interrupted; destroy the seat again")
            }
            Phase::Kept => (Status::Stopped, None),
            Phase::Started => match self.live(record).await {
                Ok(Some(live)) => self.of_live(record, &live).await,
                Ok(None) => self.of_dead(record),
                Err(why) => (Status::Error, Some(why.to_string())),
            },
        }
    }

    async fn of_live(&self, record: &SeatRecord, live: &Live) -> Judgement {
        let health = live.link.now().health;
        if let Some(judgement) = health.as_ref().and_then(broken) {
            live.went_silent();
            return judgement;
        }
        if live.is_ready() {
            return self.unheard(record, live).unwrap_or((Status::Running, None));
        }
        // Before it is asked: what answers may be one that ends, and is started again.
        let restarts = live.restarts();
        let silent = if health.is_some_and(|health| health.phase == GuestPhase::Configuring) {
            // What is sent to a guest that has no address yet is lost, and waited for in vain.
            Err("its guest is being configured".to_owned())
        } else {
            self.edges.host.answers(record.address.ip, &record.ports).await
        };
        let Err(silent) = silent else {
            live.answered(restarts);
            return self.unheard(record, live).unwrap_or((Status::Running, None));
        };
        live.went_silent();
        if !live.machine.is_alive() {
            return self.of_dead(record);
        }
        if let Some(judgement) =
            live.link.now().health.as_ref().and_then(|health| restarting(&health.workload))
        {
            return judgement;
        }
        if live.link.now().is_stuck {
            let reason =
                "its guest waits for free space on the host's disk; free some, and it goes on by itself";
            return (Status::Error, Some(reason.to_owned()));
        }
        if let Some(judgement) = self.cut_off(record).await {
            return judgement;
        }
        let timeout = self.config.start_timeout;
        // Young seats get their time; old ones (the service may just have come up) from when it was noticed.
        if age(record.started_at) < timeout || live.silent_for() < timeout {
            return (Status::Starting, Some(silent));
        }
        (
            Status::Error,
            Some(format!("{silent} after {} s; see its log, or destroy the seat", timeout.as_secs())),
        )
    }

    /// A seat whose workspace answers and whose agent does not: it hangs, or somebody else speaks to it. Such a seat cannot be
    /// stopped in order, and when its workload ends nobody is told.
    fn unheard(&self, record: &SeatRecord, live: &Live) -> Option<Judgement> {
        let link = live.link.now();
        let lost_for = link.lost_since?.elapsed();
        if !live.machine.is_alive() {
            return Some(self.of_dead(record));
        }
        let timeout = self.config.start_timeout;
        if link.health.is_none() && lost_for < timeout {
            // A service that has just come up takes up its links; as long as that may take, seats are as their ports say.
            return None;
        }
        let why = link.trouble.map(|why| format!(" ({why})")).unwrap_or_default();
        let reason = format!("its agent does not answer{why}");
        if lost_for < timeout {
            return Some((Status::Starting, Some(reason)));
        }
        let remedy = "see its log, or destroy the seat";
        Some((Status::Error, Some(format!("{reason} after {} s; {remedy}", timeout.as_secs()))))
    }

    /// A seat that runs and that nobody can reach, since somebody took its network away.
    async fn cut_off(&self, record: &SeatRecord) -> Option<Judgement> {
        let net = self.known_network(&record.of())?;
        let what = match self.edges.network.port_state(&net, &Self::port_of(record)).await.ok()? {
            PortState::Whole => return None,
            PortState::Loose => match net.wiring {
                Wiring::Bridge { .. } => "is down or not on its bridge",
                Wiring::Cni { .. } => "is down or not joined to its network",
            },
            PortState::Unplugged => "was deleted",
        };
        let tap = &record.address.tap;
        let remedy = "create the seat again to mend it, or destroy it";
        Some((Status::Error, Some(format!("its network device {tap} {what}; {remedy}"))))
    }

    fn of_dead(&self, record: &SeatRecord) -> Judgement {
        if self.went_with_its_host(record) {
            let reason = "the host was restarted; create the seat again to start it";
            return (Status::Stopped, Some(reason.to_owned()));
        }
        of_exit(self.state.seat(&record.of()).run().exit().ok().flatten().as_ref())
    }
}

/// A seat whose VM has ended.
fn of_exit(exit: Option<&Exit>) -> Judgement {
    match exit {
        None => (Status::Stopped, Some("it has no VM; create the seat again to start it".to_owned())),
        Some(exit) if exit.is_orderly() => {
            (Status::Stopped, Some(format!("{exit}; create the seat again to start it")))
        }
        Some(exit) => {
            (Status::Error, Some(format!("{exit}; create the seat again to start it, or destroy it")))
        }
    }
}

/// A guest that can't serve, whatever its ports say.
fn broken(health: &Health) -> Option<Judgement> {
    let error = |reason: String| Some((Status::Error, Some(reason)));
    match health.phase {
        GuestPhase::Failed => {
            let why = health.reason.as_deref().unwrap_or("it does not say why");
            error(format!("the guest could not be prepared: {why}"))
        }
        // It is configured in the create, so whoever was to do it is gone, with the secrets for it.
        GuestPhase::Waiting => {
            error("its guest has no configuration; destroy the seat and create it again".to_owned())
        }
        _ => ended(&health.workload),
    }
}

/// A workload that does not run.
fn ended(workload: &Workload) -> Option<Judgement> {
    match workload.state {
        WorkloadState::BackOff | WorkloadState::Exited => {
            let code = workload.last_exit.map(|exit| exit.code().to_string()).unwrap_or_default();
            Some((Status::Error, Some(dying(&code, workload.last_line.as_deref()))))
        }
        WorkloadState::Failed => {
            let why = workload.reason.as_deref().unwrap_or("it does not say why");
            Some((Status::Error, Some(format!("the workspace cannot be started: {why}"))))
        }
        WorkloadState::None | WorkloadState::Running | WorkloadState::Unknown => None,
    }
}

/// A workload that was started again and is silent: that it will end once more is likelier than that it will answer.
fn restarting(workload: &Workload) -> Option<Judgement> {
    let exit = workload.last_exit.filter(|_| workload.restarts > 0)?;
    Some((Status::Error, Some(dying(&exit.code().to_string(), workload.last_line.as_deref()))))
}

/// A seat whose record says nothing to this version.
fn of_unreadable(seat: &SeatRef, why: &Unreadable) -> Instance {
    let what = match why {
        Unreadable::Newer { .. } => "run that version, or destroy the seat",
        Unreadable::Damaged(_) | Unreadable::Io(_) => "destroy the seat",
    };
    Instance {
        id: None,
        seat: seat.clone(),
        ip: None,
        status: Status::Error,
        ports: order_ports(Vec::new()),
        endpoints: BTreeMap::new(),
        image: String::new(),
        provider: ProviderKind::Microvm,
        created_at: None,
        expires_at: None,
        reason: Some(format!("{why}; {what}")),
    }
}

/// The seat as the domain sees it.
fn instance(record: &SeatRecord, (status, reason): Judgement) -> Instance {
    // An operator's network may not have given one yet.
    let ip = (!record.address.ip.is_unspecified()).then_some(IpAddr::V4(record.address.ip));
    let endpoint = |port: &u16| Some((*port, format!("http://{}", SocketAddr::new(ip?, *port))));
    Instance {
        id: Some(record.id.clone()),
        seat: record.of(),
        ip,
        status,
        ports: record.ports.clone(),
        endpoints: record.ports.iter().filter_map(endpoint).collect(),
        image: record.wish.image.to_string(),
        provider: ProviderKind::Microvm,
        created_at: Some(record.created_at),
        expires_at: None,
        reason,
    }
}

fn age(since: Timestamp) -> Duration {
    Timestamp::now().duration_since(since).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use guest_protocol::Exit as WorkloadExit;
    use rstest::rstest;

    use super::*;
    use crate::vmm::How;

    fn workload(state: WorkloadState, restarts: u32, exit: Option<i32>) -> Workload {
        Workload {
            state,
            restarts,
            last_exit: exit.map(WorkloadExit::Code),
            last_line: exit.map(|_| "boom: no licence file".to_owned()),
            ..Workload::default()
        }
    }

    #[rstest]
    #[case(WorkloadState::Running, None)]
    #[case(WorkloadState::None, None)]
    #[case(WorkloadState::BackOff, Some("the workspace exits with code 3: boom: no licence file"))]
    #[case(WorkloadState::Exited, Some("the workspace exits with code 3: boom: no licence file"))]
    #[case(WorkloadState::Failed, Some("the workspace cannot be started: it does not say why"))]
    fn a_workload_that_ends_is_told_as_a_container_s_is(
        #[case] state: WorkloadState,
        #[case] reason: Option<&str>,
    ) {
        let said = ended(&workload(state, 1, Some(3))).and_then(|(_, reason)| reason);
        assert_eq!(said.as_deref(), reason);
    }

    #[test]
    fn a_silent_workload_is_dying_only_after_a_restart() {
        assert_eq!(restarting(&workload(WorkloadState::Running, 0, None)), None);
        assert_eq!(restarting(&workload(WorkloadState::Running, 0, Some(3))), None);
        let (status, _) = restarting(&workload(WorkloadState::Running, 1, Some(3))).unwrap();
        assert_eq!(status, Status::Error);
    }

    #[rstest]
    #[case(How::Code(0), Status::Stopped)]
    #[case(How::Code(1), Status::Error)]
    #[case(How::Signal(9), Status::Error)]
    #[case(How::Unknown, Status::Error)]
    fn a_dead_vm_is_stopped_or_broken(#[case] how: How, #[case] status: Status) {
        let exit = Exit::plain(how);
        let (found, reason) = of_exit(Some(&exit));
        assert_eq!(found, status);
        assert!(reason.unwrap().contains("create the seat again"));
    }
}
