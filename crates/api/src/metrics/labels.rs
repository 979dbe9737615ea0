//! The labels. Each has few values, all of them ours: no label holds what a caller wrote.

use prometheus_client::encoding::EncodeLabelSet;

/// An operation that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Done {
    pub(super) operation: &'static str,
    pub(super) provider: &'static str,
    pub(super) outcome: &'static str,
}

/// A stage that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Staged {
    pub(super) provider: &'static str,
    pub(super) stage: &'static str,
}

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) route: String,
}

/// A kind of request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answer {
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

/// Which build this is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
    pub(super) commit: &'static str,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Source {
    pub(super) provider: &'static str,
}

/// A status of seats.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Seats {
    pub(super) status: &'static str,
}
