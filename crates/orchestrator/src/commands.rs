//! The commands.

mod came_up;
mod class;
mod doctor;
mod findings;
mod healthcheck;
mod microvm;
mod progress;
mod rootfs;
mod seat;
mod serve;
mod wish;

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command, Connection, DEFAULT_URL, Place};
use crate::client::Client;
use crate::config::{self, Config, SettingFlags, Surroundings, Token};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

/// Does what the command line says.
///
/// # Errors
/// With what failed; see [`Failure`].
pub(crate) fn run(cli: Cli, ui: Ui) -> anyhow::Result<Exit> {
    let surroundings = Surroundings::of_process();
    match cli.command {
        Command::Serve(args) => serve::run(&args, &surroundings, ui),
        Command::Doctor(args) => block_on(doctor::run(&args, &surroundings, ui)),
        Command::Healthcheck(args) => block_on(healthcheck::run(&args, &surroundings, ui)),
        Command::Class(command) => {
            config::check_variables(&surroundings).map_err(Failure::from)?;
            block_on(class::run(command, &surroundings, ui))
        }
        Command::Seat(command) => {
            config::check_variables(&surroundings).map_err(Failure::from)?;
            block_on(seat::run(command, &surroundings, ui))
        }
        Command::Rootfs(command) => rootfs::run(command, &surroundings, ui),
        Command::Microvm(command) => microvm::run(command, &surroundings, ui),
        // Before anything has made a thread or a runtime.
        #[cfg(target_os = "linux")]
        Command::VmmKeeper => Ok(microvm::keep()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "orchestrator", &mut script);
            std::io::stdout().lock().write_all(&script)?;
            Ok(Exit::Ok)
        }
        Command::ConfigReference => {
            ui.line(config::reference().trim_end())?;
            Ok(Exit::Ok)
        }
    }
}

/// Runs a client command: it waits for one connection, so one thread is enough.
fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

fn connect(connection: &Connection, surroundings: &Surroundings) -> Result<Client, Failure> {
    let by_flag = connection.token_file.is_some();
    let file = connection.token_file.clone();
    let file = file.or_else(|| surroundings.variable("ORCHESTRATOR_TOKEN_FILE").map(Into::into));
    let token = Token::find(file.as_deref(), by_flag, surroundings)
        .map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    // An empty variable is one that is not set, as everywhere else.
    let url = Some(connection.url.as_str()).filter(|url| !url.is_empty()).unwrap_or(DEFAULT_URL);
    Client::new(url, token)
}

/// The configuration for a command that needs to know where files are kept and where the engine is.
fn configured(place: &Place, surroundings: &Surroundings) -> Result<Config, Failure> {
    let folder = place.state_dir.iter();
    let flags = folder.map(|folder| ("state_dir", "state-dir".to_owned(), folder.clone())).collect();
    Ok(Config::load(place.config.as_deref(), &SettingFlags(flags), surroundings)?)
}

/// The address to reach a service that listens as configured: a wildcard is reached on loopback.
fn listening(config: &Config) -> String {
    let mut address = config.settings.listen;
    if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    format!("http://{address}")
}
