//! The configuration: a file, the environment and flags become one checked [`Settings`].

mod flags;
mod layers;
mod log_filter;
mod print;
mod problem;
mod settings;
mod suggest;
mod token;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) use flags::SettingFlags;
use layers::Layers;
pub(crate) use log_filter::LogFilter;
pub(crate) use print::{effective, reference};
pub(crate) use problem::{ConfigError, Problem, Source};
#[cfg(target_os = "linux")]
pub(crate) use settings::{AcceleratorChoice, EgressChoice, MonitorChoice, NetworkChoice, SnapshotChoice};
pub(crate) use settings::{GuardChoice, LogFormat, ProviderChoice, Settings};
pub(crate) use token::Token;
pub(crate) use value::{SettingValue, Span};

/// Where a file is looked for when none is named, in this order.
const PLACES: [&str; 2] = ["orchestrator.toml", "/etc/clarateach/orchestrator.toml"];

/// The outside that a configuration is read from; tests make their own.
pub(crate) struct Surroundings {
    /// The environment.
    pub(crate) variables: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The value of a variable, when it is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsString> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).filter(|value| !value.is_empty())
    }
}

/// A configuration without mistakes in its parts.
#[derive(Debug)]
pub(crate) struct Config {
    /// Every setting.
    pub(crate) settings: Settings,
    /// Where the value of each setting came from, by key.
    pub(crate) sources: Vec<(&'static str, Source)>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// The token that clients must send.
    pub(crate) token: Option<Token>,
}

impl Config {
    /// Reads all layers and tells every mistake at once.
    ///
    /// # Errors
    /// With the mistakes.
    pub(crate) fn load(
        file: Option<&Path>,
        flags: &SettingFlags,
        surroundings: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let named = file.map(Path::to_owned);
        let named = named.or_else(|| surroundings.variable("ORCHESTRATOR_CONFIG").map(PathBuf::from));
        let read = read_file(named, &mut problems);
        let mut layers = Layers::default();
        if let Some(host) = surroundings.variable("DOCKER_HOST").and_then(|host| host.to_str()) {
            layers.add_text("docker.host", Source::Variable("DOCKER_HOST".into()), host.to_owned());
        }
        if let Some((path, text)) = &read {
            layers.add_file(path, text, &mut problems);
        }
        layers.add_variables(surroundings.variables.iter().cloned(), &mut problems);
        for (key, flag, text) in &flags.0 {
            layers.add_text(key, Source::Flag(format!("--{flag}")), text.clone());
        }
        let settings = Settings::read(&layers, &mut problems);
        let token = settings.as_ref().and_then(|settings| {
            let file = settings.token_file.as_deref();
            let chosen_by_flag = matches!(layers.source("token_file"), Source::Flag(_));
            Token::find(file, chosen_by_flag, surroundings).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
        });
        match settings {
            Some(settings) if problems.is_empty() => {
                let keys = settings::TABLE.iter().map(|setting| setting.key);
                let sources = keys.map(|key| (key, layers.source(key))).collect();
                Ok(Self { settings, sources, file: read.map(|(path, _)| path), token })
            }
            _ => Err(ConfigError(problems)),
        }
    }

    /// Where the value of a setting came from.
    pub(crate) fn source(&self, key: &str) -> &Source {
        self.sources.iter().find(|(known, _)| *known == key).map_or(&Source::Default, |(_, source)| source)
    }
}

/// Tells unknown variables, for commands that read no settings.
///
/// # Errors
/// With the mistakes.
pub(crate) fn check_variables(surroundings: &Surroundings) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    Layers::default().add_variables(surroundings.variables.iter().cloned(), &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
}

fn read_file(named: Option<PathBuf>, problems: &mut Vec<Problem>) -> Option<(PathBuf, String)> {
    let must_exist = named.is_some();
    let places = named.map_or_else(|| PLACES.map(PathBuf::from).to_vec(), |path| vec![path]);
    for path in places {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
            Err(error) => {
                problems.push(Problem::of_all(format!("cannot read {}: {error}", path.display())));
                return None;
            }
        }
    }
    None
}
