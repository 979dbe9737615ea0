//! What somebody should know before class day.

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, with less than it could have.
    Warning,
    /// Seats cannot be made.
    Error,
}

impl Level {
    /// Its word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at, how it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, a short stable word.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub detail: String,
    /// What to do about it, when it is not as it should be.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, detail: detail.into(), remedy: None }
    }

    /// It works, and could be better.
    pub fn warning(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Warning, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// No seat can be made.
    pub fn error(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level: Level::Error, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}
