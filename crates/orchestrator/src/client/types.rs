//! What is shown of the service's answers. Fields that are not shown are not read, so that a newer service can
//! say more; JSON output passes the answer on as it came.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// A seat as it is now.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Instance {
    /// Its workshop.
    #[serde(default)]
    pub(crate) workshop: String,
    /// Its number.
    pub(crate) seat: u64,
    /// What runs for it, once something does.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// Its address.
    #[serde(default)]
    pub(crate) ip: Option<String>,
    /// The ports of its workspace, the terminal's first.
    #[serde(default)]
    pub(crate) ports: Vec<u64>,
    /// How far it is: `starting`, `running`, `stopped` or `error`.
    pub(crate) status: String,
    /// Where it is reached.
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    /// Its image.
    #[serde(default)]
    pub(crate) image: Option<String>,
    /// What makes seats there: `docker`, `microvm` or `sim`.
    #[serde(default)]
    pub(crate) provider: Option<String>,
    /// Why it is not running.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// The answer for one seat of a class.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeatReport {
    /// Its number.
    pub(crate) seat: u64,
    /// What became of it: `created`, `unchanged`, `conflict`, `failed`, `destroyed` or `surplus`.
    pub(crate) outcome: String,
    /// The seat as it is now.
    #[serde(default)]
    pub(crate) instance: Option<Instance>,
    /// The stable code of the error.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// How long each stage took, in milliseconds.
    #[serde(default)]
    pub(crate) timings: BTreeMap<String, f64>,
}

impl SeatReport {
    /// Whether the seat is not as wished.
    pub(crate) fn failed(&self) -> bool {
        matches!(self.outcome.as_str(), "conflict" | "failed" | "pending")
    }
}

/// The answer for a class.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClassReport {
    /// The workshop.
    pub(crate) workshop: String,
    /// Every seat.
    pub(crate) seats: Vec<SeatReport>,
}

/// A seat entered a stage.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StageEvent {
    /// Its number.
    pub(crate) seat: u64,
    /// Which stage.
    pub(crate) stage: String,
    /// How far the stage is.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// The seats of a workshop.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeatList {
    /// Every seat.
    pub(crate) seats: Vec<Instance>,
}

/// Every workshop in numbers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WorkshopList {
    /// By name.
    pub(crate) workshops: Vec<Workshop>,
}

/// How many seats of a workshop are how far.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Workshop {
    /// Its id.
    pub(crate) workshop: String,
    /// All of them.
    pub(crate) seats: u64,
    /// Those that answer.
    pub(crate) running: u64,
    /// Those that do not answer yet.
    pub(crate) starting: u64,
    /// Those that were stopped.
    pub(crate) stopped: u64,
    /// Those that do not work.
    pub(crate) error: u64,
}

/// Reads the part of an answer that is shown.
///
/// # Errors
/// When the answer is not what the contract says.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(plain(value)).map_err(|error| {
        Failure::new(Exit::Failure, format!("the service's answer is not understood ({error})"))
            .remedy("use a client and a service of the same version")
    })
}

/// The same value with no control character in its texts. A reason may quote the last line that a learner's
/// program printed, which must not be able to move the cursor of whoever reads it, or to forge a second line.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(char::is_control, " ")),
        Value::Array(parts) => parts.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_shown_controls_the_terminal() {
        let answer =
            json!({"seats": [{"seat": 1, "status": "error", "reason": "a\u{1b}[2Jb\nseat 2: fine\u{9b}"}]});
        let list: SeatList = read(&answer).unwrap();
        assert_eq!(list.seats[0].reason.as_deref(), Some("a [2Jb seat 2: fine "));
    }

    #[test]
    fn what_is_not_an_answer_is_said_to_be_none() {
        let failure = read::<SeatList>(&json!({"seats": 3})).unwrap_err();
        assert!(failure.message.starts_with("the service's answer is not understood"));
    }
}
