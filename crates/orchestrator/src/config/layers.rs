//! The layers of the configuration: file, environment, flags; the later one wins.
//!
//! Every given value is read, also one that a later layer replaces: a mistake in a file is better told today
//! than on the day when the variable that hid it goes away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Source};
use super::settings::{Setting, TABLE};
use super::suggest::nearest;
use super::value::{SettingValue, describe};

/// The variables of ours that are not settings.
pub(crate) const OTHER_VARIABLES: [&str; 5] = [
    "ORCHESTRATOR_CONFIG",
    "ORCHESTRATOR_TOKEN",
    "ORCHESTRATOR_URL",
    "ORCHESTRATOR_API_KEY",
    "ORCHESTRATOR_OUTPUT",
];

/// A value as its source holds it.
#[derive(Clone, Debug)]
enum Raw<'i> {
    Text(String),
    Toml(DeValue<'i>),
}

/// What the layers hold, by key, the last one winning.
#[derive(Debug, Default)]
pub(crate) struct Layers<'i>(BTreeMap<&'static str, Vec<(Source, Raw<'i>)>>);

impl<'i> Layers<'i> {
    /// Where the value that counts came from.
    pub(crate) fn source(&self, key: &str) -> Source {
        self.0.get(key).and_then(|given| given.last()).map_or(Source::Default, |(source, _)| source.clone())
    }

    /// The value that counts. Every mistake in any layer becomes a problem.
    pub(crate) fn read<T: SettingValue>(&self, key: &'static str, problems: &mut Vec<Problem>) -> Option<T> {
        let default = TABLE.iter().find(|setting| setting.key == key).map_or("", |setting| setting.default);
        let mut value = T::from_text(default).ok();
        for (source, raw) in self.0.get(key).into_iter().flatten() {
            let read = match raw {
                Raw::Text(text) => T::from_text(text),
                Raw::Toml(value) => T::from_toml(value),
            };
            match read {
                Ok(read) => value = Some(read),
                Err(detail) => {
                    let found = match raw {
                        Raw::Text(text) => format!("{text:?}"),
                        Raw::Toml(value) => describe(value),
                    };
                    let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
                    let message = format!("{key}: expected {}, found {found}{detail}", T::form());
                    problems.push(Problem::at(source.clone(), message));
                    value = None;
                }
            }
        }
        value
    }

    /// Adds the text of a file.
    pub(crate) fn add_file(&mut self, path: &Path, text: &'i str, problems: &mut Vec<Problem>) {
        let place = |offset: usize| Source::File { path: path.to_owned(), line: line_of(text, offset) };
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What follows a broken line is guesswork: only the breaks themselves are told.
            problems.extend(errors.iter().map(|error| {
                let offset = error.span().map_or(0, |span| span.start);
                Problem::at(place(offset), format!("this is not TOML: {}", error.message()))
            }));
            return;
        }
        for (name, value) in document.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) if is_section(name.get_ref()) => {
                    for (key, value) in section {
                        let dotted = format!("{}.{}", name.get_ref(), key.get_ref());
                        self.add_file_value(&dotted, place(key.span().start), value, problems);
                    }
                }
                DeValue::Table(_) if find(name.get_ref()).is_none() => {
                    let problem = unknown("section", name.get_ref(), sections());
                    problems.push(Problem::at(place(name.span().start), problem));
                }
                _ => self.add_file_value(name.get_ref(), place(name.span().start), value, problems),
            }
        }
    }

    fn add_file_value(
        &mut self,
        key: &str,
        source: Source,
        value: &Spanned<DeValue<'i>>,
        problems: &mut Vec<Problem>,
    ) {
        if let Some(setting) = find(key) {
            self.push(setting.key, source, Raw::Toml(value.get_ref().clone()));
        } else if is_section(key) {
            problems.push(Problem::at(source, format!("{key} is a section: write [{key}]")));
        } else {
            let message = unknown("key", key, TABLE.iter().map(|setting| setting.key));
            problems.push(Problem::at(source, message));
        }
    }

    /// Adds the variables that begin with `ORCHESTRATOR_`. Empty ones count: they can take back what a file sets.
    pub(crate) fn add_variables(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut Vec<Problem>,
    ) {
        let settings: BTreeMap<_, _> =
            TABLE.iter().map(|setting| (setting.variable(), setting.key)).collect();
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with("ORCHESTRATOR_") || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let Some(key) = settings.get(&name) else {
                let known = settings.keys().map(String::as_str).chain(OTHER_VARIABLES);
                problems.push(Problem::of_all(unknown("environment variable", &name, known)));
                continue;
            };
            match value.into_string() {
                Ok(value) => self.push(key, Source::Variable(name), Raw::Text(value)),
                Err(_) => problems.push(Problem::at(Source::Variable(name), "its value is not UTF-8")),
            }
        }
    }

    /// Adds one value as text: of a flag, or of a variable that others define.
    pub(crate) fn add_text(&mut self, key: &'static str, source: Source, text: String) {
        self.push(key, source, Raw::Text(text));
    }

    fn push(&mut self, key: &'static str, source: Source, raw: Raw<'i>) {
        self.0.entry(key).or_default().push((source, raw));
    }
}

fn find(key: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.key == key)
}

fn sections() -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter_map(|setting| setting.section_and_name().0)
}

fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

/// Settings that had another name once, and what they are called now.
const RENAMED: [(&str, &str); 4] = [
    ("docker.auth_disabled", "seats.auth_disabled"),
    ("docker.jwks_url", "seats.jwks_url"),
    ("docker.capabilities", "seats.capabilities"),
    ("docker.stop_grace", "seats.stop_grace"),
];

fn unknown<'a>(what: &str, given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let now = RENAMED.iter().find_map(|(old, new)| {
        let variable = |key: &str| format!("ORCHESTRATOR_{}", key.replace('.', "_").to_uppercase());
        if given == *old { Some((*new).to_owned()) } else { (given == variable(old)).then(|| variable(new)) }
    });
    if let Some(now) = now {
        return format!("unknown {what} {given:?}; it is called {now} now");
    }
    let hint = nearest(given, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("unknown {what} {given:?}{hint}")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
