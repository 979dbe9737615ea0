//! `orchestrator serve`
//!
//! ```text
//!   configuration ─► log ─► bind ─► provider ─► lifecycle ─► api ─► "listening" ─► READY=1
//!                                                                       │ first SIGTERM or SIGINT
//!             exit ◄── work and requests ended, or shutdown_timeout ◄── drain
//!                  ◄── second signal
//! ```

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{ApiConfig, Metrics, ServerLimits};
use lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Serve;
use crate::config::{self, Config, Surroundings};
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::notify::notify;
use crate::ui::Ui;
use crate::wiring::Plan;

pub(super) fn run(args: &Serve, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    let config = Config::load(args.config.as_deref(), &args.settings, surroundings).map_err(Failure::from)?;
    if args.print_config {
        ui.line(config::effective(&config).trim_end())?;
    }
    // A configuration that is printed is judged as well, so that the exit code tells whether it would serve.
    let plan = Plan::new(&config).map_err(Failure::from)?;
    if args.print_config {
        return Ok(Exit::Ok);
    }
    logging::init(config.settings.log_level.clone(), config.settings.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let socket = surroundings.variable("NOTIFY_SOCKET").cloned();
    let exit = runtime.block_on(serve(&config, &plan, socket));
    // What still runs after the shutdown's deadline must not hold the process back.
    runtime.shutdown_background();
    exit
}

async fn serve(config: &Config, plan: &Plan, socket: Option<OsString>) -> anyhow::Result<Exit> {
    let settings = &config.settings;
    // First of all, so that no signal falls into the gap before somebody listens for it.
    let mut signals = Signals::new()?;
    let listener = bind(settings.listen).await?;
    let address = listener.local_addr()?;

    let metrics = Arc::new(Metrics::default());
    let provider = plan.provider(settings).await?;
    let lifecycle = Lifecycle::new(provider, plan.policy.clone(), metrics.clone());
    let api_config = ApiConfig {
        bound: settings.seats_max,
        token: config.token.as_ref().map(config::Token::secret),
        max_body: settings.http_max_body_kib.0 as usize * 1024,
        max_wait: settings.http_max_wait.0,
        ..ApiConfig::default()
    };
    let limits = ServerLimits {
        connections: settings.http_connections.0 as usize,
        grace: settings.shutdown_timeout.0,
        ..ServerLimits::default()
    };
    let router = api::router(lifecycle.clone(), api_config, metrics);
    let shutdown = CancellationToken::new();
    let mut server = tokio::spawn(api::serve(listener, router, limits, shutdown.clone().cancelled_owned()));

    tracing::info!(
        address = %address,
        provider = lifecycle.provider().as_str(),
        token = config.token.is_some(),
        version = env!("CARGO_PKG_VERSION"),
        config = config.file.as_ref().map(|path| path.display().to_string()),
        "listening"
    );
    notify(socket.as_deref(), "READY=1");

    let name = tokio::select! {
        name = signals.next() => name,
        ended = &mut server => {
            ended?;
            anyhow::bail!("the server ended by itself");
        }
    };
    let within = settings.shutdown_timeout.0;
    tracing::info!(
        signal = name,
        within_seconds = within.as_secs_f64(),
        "shutting down; a second signal ends at once"
    );
    notify(socket.as_deref(), "STOPPING=1");
    shutdown.cancel();
    tokio::select! {
        exit = end(&lifecycle, server, within) => Ok(exit),
        name = signals.next() => {
            tracing::warn!(signal = name, "ended at once; seats that were being made may be unfinished until the next start");
            Ok(Exit::Failure)
        }
    }
}

/// Lets running work end, then the responses that waited for it.
async fn end(lifecycle: &Lifecycle, server: tokio::task::JoinHandle<()>, within: Duration) -> Exit {
    let deadline = std::time::Instant::now() + within;
    let left = lifecycle.drain(within).await;
    if left > 0 {
        tracing::warn!(
            operations = left,
            "the time to shut down is over; unfinished seats are seen again after the next start"
        );
        return Exit::Failure;
    }
    // The answers of finished work still have to be written, even when the work took all the time there was.
    let rest = deadline.saturating_duration_since(std::time::Instant::now()).max(Duration::from_secs(1));
    if tokio::time::timeout(rest, server).await.is_err() {
        tracing::info!("some connections were still open");
    }
    tracing::info!("stopped");
    Exit::Ok
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "something listens there already: stop it, or choose another with --listen"
            }
            std::io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen, or run as root",
            _ => "choose an address of this host with --listen",
        };
        Failure::new(Exit::Failure, format!("cannot listen on {address}: {error}")).remedy(remedy).into()
    })
}

/// The signals that end the service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
