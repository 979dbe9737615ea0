//! What gets into a seat, and what does not get out.

use std::fmt::{Debug, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use seats::{ApiKey, DataPolicy, Limits, Scope, SeatRef, Timeline};

use crate::{Context, Stop, TestImage};

/// Everything that was said, in every way in which a program could print it.
#[derive(Default)]
struct Said(String);

impl Said {
    fn hear(&mut self, what: &impl Debug) {
        let _ = write!(self.0, "{what:?} {what:#?} ");
    }

    fn error(&mut self, error: &impl std::error::Error) {
        self.hear(error);
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            let _ = write!(self.0, "{error} ");
            cause = error.source();
        }
    }

    /// Fails when one of the secrets was said. The failure does not say it again.
    fn keeps(&self, secrets: &[&str], place: &str) -> Result<(), Stop> {
        for (number, secret) in secrets.iter().enumerate() {
            ensure!(!self.0.contains(secret), "secret {number} of the check shows in {place}");
        }
        Ok(())
    }
}

pub(super) async fn no_secret_gets_out(cx: Context) -> Result<(), Stop> {
    // Words that nothing else can contain.
    let secrets = ["sk-canary-4f1c7e-first", "sk-canary-9ad03b-other", "sk-canary-77e2d1-variable"];
    let [first, other, variable] = secrets;
    let (service, workshop) = (cx.service()?, cx.workshop()?);
    let mut spec = cx.spec(&workshop, 1)?;
    spec.api_key = Some(ApiKey::new(first.into())?);
    spec.env.insert("PASSWORD", variable.into())?;
    let mut wrong = spec.clone();
    wrong.api_key = Some(ApiKey::new(other.into())?);

    let mut said = Said::default();
    said.hear(&spec);
    said.hear(&cx.request(&spec));
    let provider = cx.provider();
    let created = provider.create(&spec, &Timeline::default()).await?;
    said.hear(&created);
    said.hear(&cx.running(provider.as_ref(), &created.instance).await?);
    said.hear(&service.create(cx.request(&spec), cx.patience()).await?);
    if let Err(error) = provider.create(&wrong, &Timeline::default()).await {
        said.error(&error);
    }
    if let Err(error) = service.create(cx.request(&wrong), cx.patience()).await {
        said.hear(&error.reason());
        said.error(&error);
    }
    // A create that fails late, so that its error has seen everything.
    let mut broken = cx.spec_of(&workshop, 2, TestImage::Missing)?;
    (broken.api_key, broken.env) = (spec.api_key.clone(), spec.env.clone());
    if let Err(error) = provider.create(&broken, &Timeline::default()).await {
        said.error(&error);
    }
    said.hear(&provider.list(&Scope::All).await?);
    said.hear(&provider.get(&spec.seat).await?);
    said.hear(&service.list(&Scope::All).await?);
    said.hear(&cx.inventory(&workshop).await?);
    said.keeps(&secrets, "what the provider and the service say")?;

    let surface = Said(cx.harness().secrets_surface(&spec.seat).await?);
    surface.keeps(&secrets, "what outsiders can read")?;
    provider.destroy(&spec.seat, DataPolicy::Keep).await?;
    let surface = Said(cx.harness().secrets_surface(&spec.seat).await?);
    surface.keeps(&secrets, "what outsiders can read after the destroy")
}

pub(super) async fn the_environment_arrives_unchanged(cx: Context) -> Result<(), Stop> {
    let odd = "a \"quoted\" $HOME 'key' \\n\twith = signs\nand two lines, ünïcödé";
    let key = format!("sk-canary-{odd}");
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let mut spec = cx.spec(&workshop, 7)?;
    spec.api_key = Some(ApiKey::new(key.clone())?);
    spec.env.insert("ODD", odd.into())?;
    spec.env.insert("EMPTY", String::new())?;
    cx.up(provider.as_ref(), &spec).await?;
    let seen = cx.harness().environment(&spec.seat).await?;
    let expected = [
        ("ANTHROPIC_API_KEY", key.as_str()),
        ("ODD", odd),
        ("EMPTY", ""),
        ("WORKSPACE_DIR", "/workspace"),
        ("TERM", "xterm-256color"),
        ("TERMINAL_PORT", "3001"),
        ("FILES_PORT", "3002"),
        ("SEAT", "7"),
        ("CONTAINER_ID", "c-07"),
    ];
    for (name, value) in expected {
        ensure_eq!(seen.get(name).map(String::as_str), Some(value), "the variable {name}");
    }
    ensure!(seen.contains_key("AUTH_DISABLED"), "AUTH_DISABLED is always set");

    // Two of the service's own are the caller's, when the caller gives them.
    let mut spec = cx.spec(&workshop, 8)?;
    let given = [("AUTH_DISABLED", "true"), ("JWKS_URL", "http://127.0.0.1:9/jwks")];
    for (name, value) in given {
        spec.env.insert(name, value.into())?;
    }
    cx.up(provider.as_ref(), &spec).await?;
    let seen = cx.harness().environment(&spec.seat).await?;
    for (name, value) in given {
        ensure_eq!(seen.get(name).map(String::as_str), Some(value), "the variable {name}");
    }
    Ok(())
}

pub(super) async fn the_limits_arrive(cx: Context) -> Result<(), Stop> {
    let (provider, workshop) = (cx.provider(), cx.workshop()?);
    let mut spec = cx.spec(&workshop, 1)?;
    spec.limits = Limits { cpu_millis: 250, memory_mib: 96, pids: 77 };
    cx.create(provider.as_ref(), &spec).await?;
    ensure_eq!(cx.harness().limits(&spec.seat).await?, spec.limits, "the limits");
    Ok(())
}

pub(super) async fn seats_cannot_reach_each_other(cx: Context) -> Result<(), Stop> {
    let (provider, workshop, elsewhere) = (cx.provider(), cx.workshop()?, cx.workshop()?);
    let here = cx.up(provider.as_ref(), &cx.spec(&workshop, 1)?).await?;
    let beside = cx.up(provider.as_ref(), &cx.spec(&workshop, 2)?).await?;
    let far = cx.up(provider.as_ref(), &cx.spec(&elsewhere, 1)?).await?;
    // First that the probe can succeed at all.
    for port in &here.ports {
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), *port);
        ensure!(cx.harness().can_connect(&here.seat, own).await?, "a seat reaches its own port {port}");
    }
    for other in [&beside, &far] {
        let ip = other.ip.ok_or_else(|| Stop::fail(format!("no address: {other:?}")))?;
        for port in &other.ports {
            let reached = stays_open(&cx, &here.seat, SocketAddr::new(ip, *port)).await?;
            ensure!(!reached, "seat {} reaches port {port} of seat {}", here.seat, other.seat);
        }
    }
    Ok(())
}

/// Whether a way is open, for longer than the infrastructure may leave it open.
async fn stays_open(cx: &Context, from: &SeatRef, to: SocketAddr) -> Result<bool, Stop> {
    let deadline = Instant::now() + cx.harness().isolation_lapses_for();
    while cx.harness().can_connect(from, to).await? {
        if Instant::now() >= deadline {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(false)
}
