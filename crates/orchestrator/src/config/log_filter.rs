//! Which events are logged.
//!
//! Stricter than the usual filter syntax, in which a mistyped level is taken for a module and silences the log.

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::value::{SettingValue, quoted};

/// Libraries that write request bodies to the log below `info`: those bodies hold the environment of seats, and
/// with it their keys. No configuration may turn that on.
const NEVER_BELOW_INFO: [&str; 4] = ["bollard", "hyper", "hyper_util", "reqwest"];

/// A level, and other levels for parts of the program.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    /// Whether an event is logged.
    pub(crate) fn allows(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let capped = NEVER_BELOW_INFO.iter().any(|name| {
            target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        let too_deep = capped && *metadata.level() > tracing::Level::INFO;
        !too_deep && self.targets.would_enable(target, metadata.level())
    }
}

fn level(text: &str) -> Option<LevelFilter> {
    ["off", "error", "warn", "info", "debug", "trace"].contains(&text).then(|| text.parse().ok()).flatten()
}

impl SettingValue for LogFilter {
    fn form() -> String {
        "off, error, warn, info, debug or trace, also per part as in \"info,lifecycle=debug\"".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut targets = Targets::new();
        let mut parts = text.split(',').map(str::trim).peekable();
        if parts.peek().is_none_or(|part| part.is_empty()) {
            return Err(String::new());
        }
        for part in parts {
            targets = match part.split_once('=') {
                None => targets.with_default(level(part).ok_or_else(|| format!("{part:?} is no level"))?),
                Some((target, word)) => {
                    let level = level(word).ok_or_else(|| format!("{word:?} is no level"))?;
                    targets.with_target(target, level)
                }
            };
        }
        Ok(Self { text: text.to_owned(), targets })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("inof")]
    #[case("info,")]
    #[case("INFO")]
    #[case("lifecycle")]
    #[case("lifecycle=3")]
    fn mistyped_levels_are_refused(#[case] text: &str) {
        assert!(LogFilter::from_text(text).is_err());
    }
}
