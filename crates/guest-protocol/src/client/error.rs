//! What can go wrong with an agent.

use std::io;
use std::time::Duration;

use crate::{OLDEST, Problem, plain};

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answered in time.
    #[error("the guest agent did not answer within {} s: the guest hangs or does not boot; see its console", .0.as_secs())]
    Silent(Duration),
    /// The stream ended or broke.
    #[error("the stream to the guest agent broke: {0}")]
    Stream(#[source] io::Error),
    /// HTTP/2 did not begin.
    #[error("the guest agent does not speak HTTP/2: {0}")]
    Handshake(String),
    /// The first request failed.
    #[error("{0}")]
    Health(#[source] ClientError),
    /// The agent is older than what this host talks to.
    #[error(
        "the guest agent has generation {0}, and {OLDEST} is the oldest that is known: make the seat again"
    )]
    TooOld(u32),
    /// It ended after it was there.
    #[error("the link to the guest agent ended: {0}")]
    Ended(String),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent says no, and why.
    #[error("the guest agent cannot {what}: {problem}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        problem: Problem,
    },
    /// The agent has no such route.
    #[error("the guest agent has generation {generation} and cannot {what}: make the seat again")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The agent's generation.
        generation: u32,
    },
    /// The link broke before the answer was there.
    #[error("the guest agent was asked to {what}, and the link to it was lost: {why}")]
    Lost {
        /// What was asked for.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// No answer in time; the link may still be good.
    #[error("the guest agent was asked to {what}, and did not answer within {} s", .after.as_secs())]
    Deadline {
        /// What was asked for.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// An answer that is none.
    #[error("the guest agent was asked to {what}, and its answer cannot be read: {why}")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A request that cannot be sent.
    #[error("the guest agent cannot be asked to {what}: {why}")]
    Request {
        /// What was to be asked for.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// An answer that is no such document. What is wrong with it may quote it.
    pub(super) fn unreadable(what: &'static str, why: &serde_json::Error) -> Self {
        Self::Answer { what, why: plain(&why.to_string()) }
    }
}

/// An error with all that is behind it: hyper's own say little. Some quote the other side.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    plain(&words)
}
