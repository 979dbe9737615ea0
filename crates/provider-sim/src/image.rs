//! What the simulated images do when they are started.

use std::time::Duration;

/// A simulated image: the ports its workspace listens on, and how it behaves.
#[derive(Clone, Debug)]
pub struct SimImage {
    pub(crate) ports: Vec<u16>,
    pub(crate) behaviour: Behaviour,
}

/// How a simulated workspace behaves once started.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers after this long.
    Answers(Duration),
    /// Ends at once.
    Exits { code: i32, last_line: String },
    /// Runs and never answers.
    Mute,
}

impl SimImage {
    fn new(behaviour: Behaviour) -> Self {
        Self { ports: vec![3001, 3002], behaviour }
    }

    /// Answers on 3001 and 3002 as soon as it is started.
    #[must_use]
    pub fn good() -> Self {
        Self::slow(Duration::ZERO)
    }

    /// Answers `after` its start.
    #[must_use]
    pub fn slow(after: Duration) -> Self {
        Self::new(Behaviour::Answers(after))
    }

    /// Ends as soon as it is started, with this exit code and this last line in its log.
    #[must_use]
    pub fn exits(code: i32, last_line: impl Into<String>) -> Self {
        Self::new(Behaviour::Exits { code, last_line: last_line.into() })
    }

    /// Runs and never answers.
    #[must_use]
    pub fn mute() -> Self {
        Self::new(Behaviour::Mute)
    }

    /// The same image with other ports, the terminal's first.
    #[must_use]
    pub fn with_ports(self, ports: Vec<u16>) -> Self {
        Self { ports, ..self }
    }
}
