//! `cargo xtask demo`: a class of three on this machine, for as long as somebody looks at it.
//!
//! ```text
//!   claim ─► build ─► service ─► class up ─► ask every seat ─► Portal API ─► what to try ─► wait
//!     │                  └───────────┴── an error, Ctrl-C, SIGTERM ─────────────────────────┘
//!     └◄── nothing left: verified ◄── service stopped ◄── class down ◄── portal stopped ◄┘
//! ```
//!
//! What was started is written down in the demo's folder before it exists, so that the next demo can tidy up after
//! one that was killed.

mod claim;
mod clean;
mod portal;
mod show;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use crate::child::{self, show as show_child};
use crate::console;
use crate::demo::claim::Claim;
use crate::demo::portal::Portal;
use crate::repo::Repo;
use crate::service::Service;
use crate::stop::{Interrupted, Stop};

/// What the demo is like.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Do not wait for Ctrl-C: show, clean up, and tell by the exit code whether all went well.
    #[arg(long, env = "DEMO_ONCE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    once: bool,
    /// The port that the service listens on; 0 takes a free one.
    #[arg(long, env = "DEMO_PORT", default_value_t = 8080)]
    port: u16,
    /// The port that the Portal API listens on, where Node.js is there; 0 takes a free one.
    #[arg(long, env = "DEMO_PORTAL_PORT", default_value_t = 3000)]
    portal_port: u16,
    /// The workshop's name.
    #[arg(long, env = "DEMO_WORKSHOP", default_value = "demo")]
    workshop: String,
    /// How many seats.
    #[arg(long, env = "DEMO_SEATS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    seats: u16,
    /// The workspaces' api key; a demo needs none.
    #[arg(skip = std::env::var("DEMO_API_KEY").ok())]
    api_key: Option<String>,
    /// A service that is built already.
    #[arg(long, hide = true)]
    service: Option<PathBuf>,
    /// Where the demo keeps its notes and the service's log.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

/// Runs it to its end; in order means that the class answered and nothing is left.
pub(crate) async fn run(repo: &Repo, stop: &Stop, options: &Options) -> Result<bool> {
    let folder = options.folder.clone().unwrap_or_else(|| repo.scratch("demo"));
    let claim = Claim::stake(&folder, &options.workshop, options.port).await?;
    let binary = build(repo, stop, options).await?;

    console::title("The service");
    let listen = format!("127.0.0.1:{}", options.port);
    let started = Instant::now();
    let mut service = Service::start(&binary, &folder, &["--listen", &listen], None).await?;
    let (mut portal, mut without_portal) = (None, false);
    let up = async {
        claim.note_process("service", service.id())?;
        let took = started.elapsed().as_millis();
        let log = service.log.display();
        console::line(&format!("  listens on {} after {took} ms, logs to {log}", service.url()));
        class(&service, &claim, options, stop).await?;
        portal = match Portal::start(repo, stop, &claim, &service, options.portal_port).await {
            // The class is up, and worth looking at without it.
            Err(error) if !error.is::<Interrupted>() => {
                console::error(&format!("left out: {error:#}"));
                without_portal = true;
                None
            }
            started => started?,
        };
        show::next(&service, &binary, options);
        if let Some(portal) = &portal {
            portal.next();
        }
        Ok(())
    }
    .await;
    let shown = match up {
        Ok(()) if !options.once => wait(&mut service, portal.as_mut(), stop).await,
        other => other,
    };
    match &shown {
        Err(error) if !error.is::<Interrupted>() => console::error(&format!("{error:#}")),
        _ => {}
    }

    console::title("Cleaning up");
    let cleaned = clean::run(service, portal, &claim, options).await;
    if let Err(error) = &cleaned {
        console::error(&format!("{error:#}"));
    }
    match shown {
        // Ctrl-C is how a demo ends; only one that comes before there was anything to see cuts it short.
        Err(error) if error.is::<Interrupted>() => Err(error),
        shown => Ok(shown.is_ok() && cleaned.is_ok() && !without_portal),
    }
}

/// Builds the image and the service; both are quick when nothing has changed.
async fn build(repo: &Repo, stop: &Stop, options: &Options) -> Result<PathBuf> {
    console::title("The reference workspace image");
    let built = show_child(&mut repo.command("images/workspace/build.sh"), stop).await?;
    ensure!(built.success(), "the image could not be built (see above)");
    if let Some(binary) = &options.service {
        return Ok(binary.clone());
    }
    console::title("Building the service (minutes the first time)");
    // From the root and without --package: so it shares its dependencies' features with `cargo build --workspace`.
    let built = show_child(repo.cargo().args(["build", "--bin", "orchestrator"]), stop).await?;
    ensure!(built.success(), "the service could not be built (see above)");
    Ok(repo.service())
}

/// Brings the class up and asks every seat on every port.
async fn class(service: &Service, claim: &Claim, options: &Options, stop: &Stop) -> Result<()> {
    console::title(&format!("A class of {}", options.seats));
    claim.note_workshop()?;
    let seats = options.seats.to_string();
    let mut up = service.client(&["class", "up", &options.workshop, "--seats", &seats]);
    if let Some(key) = &options.api_key {
        up.env("ORCHESTRATOR_API_KEY", key);
    }
    let started = Instant::now();
    let status = show_child(&mut up, stop).await?;
    ensure!(status.success(), "the class did not come up: orchestrator class up ended with {status}");
    console::line(&format!("  up in {:.1} s", started.elapsed().as_secs_f64()));

    let mut list = service.client(&["seat", "list", &options.workshop, "--output", "json"]);
    let list = stop.or(child::output(&mut list)).await?;
    let list: serde_json::Value = serde_json::from_str(&list).context("seat list printed no JSON")?;
    let seats = list["seats"].as_array().context("seat list printed no seats")?;
    ensure!(seats.len() == usize::from(options.seats), "there are {} seats", seats.len());
    console::title("Every seat answers");
    stop.or(show::health(seats)).await
}

async fn wait(service: &mut Service, portal: Option<&mut Portal>, stop: &Stop) -> Result<()> {
    console::line("\n  Ctrl-C ends the demo and removes all that it made.");
    tokio::select! {
        _ = stop.wanted() => Ok(()),
        ended = service.ended() => {
            bail!("the service ended by itself with {}; see {}", ended?, service.log.display())
        }
        how = ended(portal) => bail!(how?),
    }
}

async fn ended(portal: Option<&mut Portal>) -> Result<String> {
    match portal {
        Some(portal) => portal.ended().await,
        None => std::future::pending().await,
    }
}
