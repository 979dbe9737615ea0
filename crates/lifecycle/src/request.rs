//! What callers ask for, before the policy has filled in what they left out.

use std::collections::{BTreeMap, BTreeSet};

use seats::{
    ApiKey, DataPolicy, Disposition, EnvVars, ImageRef, Instance, SeatId, SeatRef, StageTiming, WorkshopId,
};

/// Limits of which any may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsRequest {
    /// See [`seats::Limits::cpu_millis`].
    pub cpu_millis: Option<u32>,
    /// See [`seats::Limits::memory_mib`].
    pub memory_mib: Option<u32>,
    /// See [`seats::Limits::pids`].
    pub pids: Option<u32>,
}

/// A wish for one seat.
#[derive(Clone, Debug)]
pub struct SeatRequest {
    /// Which seat.
    pub seat: SeatRef,
    /// The image, when not the configured one.
    pub image: Option<ImageRef>,
    /// Variables beyond those that every seat gets.
    pub env: EnvVars,
    /// Limits, where not the configured ones.
    pub limits: LimitsRequest,
    /// The workspace's key.
    pub api_key: Option<ApiKey>,
}

/// What became of a [`SeatRequest`].
#[derive(Clone, Debug)]
pub struct CreateReply {
    /// The seat as it is now. [`seats::Status::Starting`] when the time to wait was over first: the work goes on.
    pub instance: Instance,
    /// Whether this request made it. [`Disposition::Made`] also while that is still open.
    pub disposition: Disposition,
    /// The stages that are finished.
    pub timings: Vec<StageTiming>,
}

/// A wish for a whole class.
#[derive(Clone, Debug)]
pub struct ClassRequest {
    /// Which workshop.
    pub workshop: WorkshopId,
    /// The seats it shall have.
    pub seats: BTreeSet<SeatId>,
    /// The image of every seat, when not the configured one.
    pub image: Option<ImageRef>,
    /// Variables of every seat.
    pub env: EnvVars,
    /// Limits of every seat.
    pub limits: LimitsRequest,
    /// The key of every seat without one of its own.
    pub api_key: Option<ApiKey>,
    /// Keys of single seats; every one of them is in `seats`.
    pub api_keys: BTreeMap<SeatId, ApiKey>,
    /// What to do with seats of the workshop that are not in `seats`: destroy them, or (`None`) leave them alone
    /// and report them.
    pub prune: Option<DataPolicy>,
}

impl ClassRequest {
    /// The wish for one seat of the class.
    pub(crate) fn seat(&self, seat: SeatId) -> SeatRequest {
        SeatRequest {
            seat: SeatRef::new(self.workshop.clone(), seat),
            image: self.image.clone(),
            env: self.env.clone(),
            limits: self.limits,
            api_key: self.api_keys.get(&seat).or(self.api_key.as_ref()).cloned(),
        }
    }
}
