//! The parts of a request that describe seats, from arguments, files, standard input and the environment.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use seats::{ApiKey, EnvVars, SeatBound, SeatId};
use serde_json::{Map, Value, json};

use crate::cli::Wish;
use crate::config::{SettingValue as _, Span, Surroundings};
use crate::exit::{Exit, Failure};

/// The fields of a request body. It may hold a key: it is sent and never shown.
///
/// # Errors
/// When an argument or a file is wrong. No error quotes a value that may be a secret.
pub(crate) fn body(wish: &Wish, surroundings: &Surroundings) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    if let Some(image) = &wish.image {
        body.insert("image".into(), json!(image));
    }
    let env = environment(wish)?;
    if !env.is_empty() {
        body.insert("env".into(), env.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect());
    }
    let limits = [
        ("cpus", wish.cpus.map(|cpus| json!(cpus))),
        ("memory_mib", wish.memory_mib.map(|mib| json!(mib))),
        ("pids", wish.pids.map(|pids| json!(pids))),
    ];
    let limits: Map<_, _> =
        limits.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if !limits.is_empty() {
        body.insert("limits".into(), Value::Object(limits));
    }
    if let Some(key) = api_key(wish.api_key_file.as_deref(), surroundings)? {
        body.insert("api_key".into(), json!(key.expose()));
    }
    Ok(body)
}

/// The key from the file, from standard input (`-`) or from `ORCHESTRATOR_API_KEY`, in this order. One newline at
/// the end belongs to the file and not to the key.
fn api_key(file: Option<&Path>, surroundings: &Surroundings) -> Result<Option<ApiKey>, Failure> {
    let (from, text) = match file {
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            // Bounded: whatever is piped in here by mistake must not fill the memory.
            let read = std::io::stdin().lock().take(1 << 20).read_to_string(&mut text);
            read.map_err(|error| usage(format!("cannot read the api key from standard input: {error}")))?;
            ("standard input".to_owned(), text)
        }
        Some(path) => (path.display().to_string(), read_file(path, "the api key")?),
        None => {
            let Some(value) = surroundings.variable("ORCHESTRATOR_API_KEY") else { return Ok(None) };
            let text = value.clone().into_string();
            ("ORCHESTRATOR_API_KEY".to_owned(), text.map_err(|_| usage("ORCHESTRATOR_API_KEY is not UTF-8"))?)
        }
    };
    let text = if file.is_some() { without_newline(&text) } else { &text };
    ApiKey::new(text.to_owned()).map(Some).map_err(|error| usage(format!("the api key from {from}: {error}")))
}

fn without_newline(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn environment(wish: &Wish) -> Result<EnvVars, Failure> {
    let mut env = EnvVars::default();
    for path in &wish.env_file {
        let text = read_file(path, "the variables")?;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            insert(&mut env, line, &format!("{}:{}", path.display(), number + 1))?;
        }
    }
    // An argument is closer to the wish than a file.
    for (number, pair) in wish.env.iter().enumerate() {
        let name = pair
            .split_once('=')
            .map_or_else(|| format!("number {}", number + 1), |(name, _)| name.to_owned());
        insert(&mut env, pair, &format!("--env {name}"))?;
    }
    Ok(env)
}

fn insert(env: &mut EnvVars, pair: &str, place: &str) -> Result<(), Failure> {
    let (name, value) =
        pair.split_once('=').ok_or_else(|| usage(format!("{place}: write it as NAME=VALUE")))?;
    env.insert(name, value.to_owned()).map_err(|error| usage(format!("{place}: {error}")))
}

fn read_file(path: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| usage(format!("cannot read {what} from {}: {error}", path.display())))
}

/// The seats of `--seats`: a number is a count, and the service gets it as it is; anything else is a list.
///
/// # Errors
/// When the text is neither.
pub(crate) fn seats(text: &str) -> Result<Value, Failure> {
    if !text.contains([',', '-']) {
        return seat(text).map(|count| json!(count));
    }
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            None => numbers.push(seat(part)?.get()),
            Some((first, last)) => {
                let (first, last) = (seat(first)?.get(), seat(last)?.get());
                if first > last {
                    return Err(usage(format!("--seats {part}: the range runs backwards")));
                }
                numbers.extend(first..=last);
            }
        }
    }
    if numbers.is_empty() { Err(usage("--seats names no seat")) } else { Ok(json!(numbers)) }
}

/// The number of a seat, as every deployment could have it; the service knows its own bound.
///
/// # Errors
/// When the text is not one.
pub(crate) fn seat(text: &str) -> Result<SeatId, Failure> {
    SeatBound::widest().parse(text).map_err(|error| usage(format!("seat {text:?}: {error}")))
}

/// Reads a time to wait.
///
/// # Errors
/// When the text is not a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, Failure> {
    let expected = || usage(format!("--wait {text:?}: expected {}", Span::form()));
    Span::from_text(text).map(|span| span.0).map_err(|_| expected())
}

/// Checks a workshop's id before it is sent: an argument in the wrong place gets a better message so.
///
/// # Errors
/// When the text is not one.
pub(crate) fn workshop(text: &str) -> Result<(), Failure> {
    let parsed: Result<seats::WorkshopId, _> = text.parse();
    parsed.map(drop).map_err(|error| usage(format!("workshop {text:?}: {error}")))
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30", json!(30))]
    #[case("1,2,5", json!([1, 2, 5]))]
    #[case("3-5, 9", json!([3, 4, 5, 9]))]
    #[case("4,", json!([4]))]
    #[case("2,2", json!([2, 2]))]
    fn reads_seats(#[case] text: &str, #[case] expected: Value) {
        assert_eq!(seats(text).unwrap(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("-1")]
    #[case("01")]
    #[case(",")]
    #[case("5-3")]
    #[case("1-")]
    #[case("1-2-3")]
    #[case("all")]
    #[case("1-99999")]
    fn refuses_seats(#[case] text: &str) {
        assert_eq!(seats(text).unwrap_err().exit, Exit::Usage);
    }

    #[rstest]
    #[case("key\n", "key")]
    #[case("key\r\n", "key")]
    #[case("key\n\n", "key\n")]
    #[case("key", "key")]
    fn one_newline_belongs_to_the_file(#[case] text: &str, #[case] key: &str) {
        assert_eq!(without_newline(text), key);
    }
}
