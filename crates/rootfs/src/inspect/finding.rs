//! One thing that was looked at.

use serde::Serialize;

/// The most paths that a [`Finding`] names; its detail says how many there are.
pub const MOST_PATHS: usize = 50;
/// So many of them stand in the detail itself.
const IN_DETAIL: usize = 3;

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It starts, and something may not work in it.
    Warning,
    /// It does not start.
    WillNotBoot,
}

impl Level {
    /// Its word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::WillNotBoot => "will_not_boot",
        }
    }
}

/// One thing that was looked at, how it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: a short stable word in `snake_case`.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub detail: String,
    /// What to do about it, when it is not as it should be.
    pub remedy: Option<String>,
    /// The first [`MOST_PATHS`] files that it is about, where it is about files.
    pub paths: Vec<String>,
}

impl Finding {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, detail: detail.into(), remedy: None, paths: Vec::new() }
    }

    pub(super) fn warning(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, remedy: Some(remedy.into()), ..Self::ok(name, detail) }
    }

    pub(super) fn will_not_boot(
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::WillNotBoot, ..Self::warning(name, detail, remedy) }
    }

    pub(super) fn paths(self, listed: &Listed) -> Self {
        Self { paths: listed.first.clone(), ..self }
    }
}

/// Files that something is true of: how many, and the first of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub(super) count: usize,
    pub(super) first: Vec<String>,
}

impl Listed {
    /// One more, already made fit for a message.
    pub(super) fn add(&mut self, path: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MOST_PATHS {
            self.first.push(path());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first few in words: `/bin/su, /bin/mount and 5 more`.
    pub(super) fn few(&self) -> String {
        let shown = self.first.iter().take(IN_DETAIL).cloned().collect::<Vec<_>>().join(", ");
        match self.count.saturating_sub(IN_DETAIL) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_paths_are_kept() {
        let mut listed = Listed::default();
        for number in 0..1000 {
            listed.add(|| format!("/{number}"));
        }
        assert_eq!(listed.few(), "/0, /1, /2 and 997 more");
        let finding = Finding::warning("setuid", "detail", "remedy").paths(&listed);
        assert_eq!(finding.paths.len(), MOST_PATHS);
        assert_eq!(counted(1, "file") + &counted(2, "file"), "1 file2 files");
    }

    #[test]
    fn levels_have_the_same_word_everywhere() {
        for level in [Level::Ok, Level::Warning, Level::WillNotBoot] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
        assert!(Level::Ok < Level::Warning && Level::Warning < Level::WillNotBoot);
    }
}
