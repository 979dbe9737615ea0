//! Where and how the log is written.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{LogFilter, LogFormat};

/// Sends the events of this process to standard error.
///
/// Only `tracing` events, on purpose: no bridge from the `log` crate is installed, through which the engine
/// library would write request bodies, and with them the seats' keys.
///
/// # Errors
/// When a subscriber is there already.
pub(crate) fn init(filter: LogFilter, format: LogFormat) -> anyhow::Result<()> {
    let terminal = stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    tracing::subscriber::set_global_default(subscriber(filter, json, terminal, stderr))?;
    Ok(())
}

fn subscriber<W>(
    filter: LogFilter,
    json: bool,
    color: bool,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(color && !json);
    let layer =
        if json { layer.json().flatten_event(true).with_span_list(false).boxed() } else { layer.boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter_fn(move |metadata| filter.allows(metadata))))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::SettingValue as _;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, json: bool, tell: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = LogFilter::from_text(level).unwrap();
        tracing::subscriber::with_default(subscriber(filter, json, false, move || writer.clone()), tell);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_that_write_bodies_stay_at_info_whatever_is_asked_for() {
        let text = logged("trace,bollard=trace,hyper=debug,bollard::docker=trace", false, || {
            tracing::trace!(target: "bollard::docker", "ANTHROPIC_API_KEY=sk-canary-1");
            tracing::debug!(target: "bollard", "ANTHROPIC_API_KEY=sk-canary-2");
            tracing::debug!(target: "hyper::proto", "ANTHROPIC_API_KEY=sk-canary-3");
            tracing::trace!(target: "hyper_util::client", "ANTHROPIC_API_KEY=sk-canary-4");
            tracing::trace!(target: "reqwest::connect", "ANTHROPIC_API_KEY=sk-canary-5");
            tracing::info!(target: "bollard::docker", "connected");
            tracing::trace!(target: "bollardier", "not capped");
        });
        assert!(!text.contains("sk-canary-"), "{text}");
        assert!(text.contains("connected") && text.contains("not capped"), "{text}");
    }

    #[test]
    fn the_filter_is_kept() {
        let text = logged("warn,lifecycle=debug", false, || {
            tracing::info!(target: "api", "quiet");
            tracing::debug!(target: "lifecycle::create", "loud");
        });
        assert!(!text.contains("quiet") && text.contains("loud"), "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = logged("info", true, || {
            tracing::info!(seat = "abc/1", "seat\nmade");
            tracing::warn!("next");
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["message"], &lines[0]["seat"]), (&"seat\nmade".into(), &"abc/1".into()));
        assert_eq!((&lines[1]["level"], &lines[0]["level"]), (&"WARN".into(), &"INFO".into()));
    }
}
