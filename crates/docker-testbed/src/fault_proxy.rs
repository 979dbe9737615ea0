//! A wire to an engine that fails the call it is told to fail.
//!
//! ```text
//!   provider ──► unix socket of the proxy ──► unix socket of the engine
//!                 │ the nth counted call:
//!                 ├─ Refused: answered 500, the engine never hears of it
//!                 ├─ Lost:    the engine does it, its answer is thrown away with the connection
//!                 └─ Late:    the connection ends at once, and the engine does it two seconds later
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

/// How late [`Fault::Late`] is.
const LATE: Duration = Duration::from_secs(2);

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The engine refuses it: no effect.
    Refused,
    /// The engine does it and dies before it answers.
    Lost,
    /// The caller gives up, and the engine does it when nobody waits any more.
    Late,
}

/// An answer of the proxy's own to every call of one kind.
#[derive(Clone, Debug)]
struct Denial {
    method: Method,
    path: String,
    status: u16,
    message: String,
}

#[derive(Debug)]
struct Plan {
    engine: PathBuf,
    calls: AtomicUsize,
    fault: Mutex<Option<(usize, Fault)>>,
    struck: Mutex<Option<String>>,
    denied: Mutex<Option<Denial>>,
    /// The containers that were made through this proxy.
    made: Mutex<HashSet<String>>,
    log: Mutex<Vec<String>>,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    plan: Arc<Plan>,
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl FaultProxy {
    /// Listens on a socket of its own, in front of `engine`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(engine: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket)?;
        let plan = Arc::new(Plan {
            engine: engine.to_owned(),
            calls: AtomicUsize::new(0),
            fault: Mutex::default(),
            struck: Mutex::default(),
            denied: Mutex::default(),
            made: Mutex::default(),
            log: Mutex::default(),
        });
        let shared = plan.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let plan = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| handle(plan.clone(), request));
                    // An error is a connection that was dropped on purpose, or by the caller.
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Ok(Self { plan, socket, task, _dir: dir })
    }

    /// Where the proxy listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Counts from zero again, and fails the call with that number (from 0). Version queries and the event stream
    /// are not counted, nor is what is asked of containers that were not made through this proxy: a provider looks
    /// into every seat that dies on the engine, also those of other tests.
    pub fn arm(&self, number: usize, fault: Fault) {
        *lock(&self.plan.struck) = None;
        *lock(&self.plan.fault) = Some((number, fault));
        lock(&self.plan.log).clear();
        self.plan.calls.store(0, Ordering::SeqCst);
    }

    /// Answers every call of a method to a path that contains `path` with this status and message, without asking the
    /// engine, until [`FaultProxy::disarm`]: for a state of the engine that cannot be provoked.
    pub fn deny(&self, method: Method, path: &str, status: u16, message: &str) {
        let denial = Denial { method, path: path.to_owned(), status, message: message.to_owned() };
        *lock(&self.plan.denied) = Some(denial);
    }

    /// Fails nothing from now on; says which call was failed (`METHOD /path`), if any was.
    pub fn disarm(&self) -> Option<String> {
        *lock(&self.plan.fault) = None;
        *lock(&self.plan.denied) = None;
        lock(&self.plan.struck).take()
    }

    /// The counted calls since the last [`FaultProxy::arm`], as `METHOD /path`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        lock(&self.plan.log).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Body = BoxBody<Bytes, hyper::Error>;

async fn handle(plan: Arc<Plan>, request: Request<Incoming>) -> Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let counted = !path.ends_with("/version") && !path.ends_with("/events") && !is_anothers(&plan, &path);
    let fault = counted.then(|| strike(&plan, &format!("{} {path}", request.method()))).flatten();
    let denied = lock(&plan.denied).clone();
    if let Some(denial) = denied.filter(|one| one.method == request.method() && path.contains(&one.path)) {
        return answer(denial.status, &denial.message);
    }
    if fault == Some(Fault::Refused) {
        return answer(500, "injected fault");
    }
    if fault == Some(Fault::Late) {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = Request::from_parts(parts, Full::new(body));
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            drop(forward(&plan, request).await);
        });
        anyhow::bail!("the caller gives up");
    }
    let answer = forward(&plan, request).await?;
    if fault == Some(Fault::Lost) {
        // Read to its end, so that the effect is complete; then the error closes the connection unanswered.
        answer.into_body().collect().await?;
        anyhow::bail!("the answer is lost");
    }
    Ok(answer)
}

/// Whether a call is about a container that was not made through this proxy.
fn is_anothers(plan: &Plan, path: &str) -> bool {
    let id = path.split_once("/containers/").and_then(|(_, rest)| rest.split('/').next());
    id.is_some_and(|id| id.len() == 64 && !lock(&plan.made).contains(id))
}

/// An error as the engine writes it.
fn answer(status: u16, message: &str) -> Result<Response<Body>> {
    let text = serde_json::json!({ "message": message }).to_string();
    let body = Full::from(text).map_err(|never| match never {}).boxed();
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body)?)
}

async fn forward<B>(plan: &Plan, request: Request<B>) -> Result<Response<Body>>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let makes = request.uri().path().ends_with("/containers/create");
    let stream = TokioIo::new(UnixStream::connect(&plan.engine).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    if !makes {
        return Ok(answer.map(BodyExt::boxed));
    }
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(id) = said["Id"].as_str() {
        lock(&plan.made).insert(id.to_owned());
    }
    Ok(Response::from_parts(parts, Full::from(body).map_err(|never| match never {}).boxed()))
}

fn strike(plan: &Plan, call: &str) -> Option<Fault> {
    let number = plan.calls.fetch_add(1, Ordering::SeqCst);
    lock(&plan.log).push(call.to_owned());
    let (at, fault) = (*lock(&plan.fault))?;
    (at == number).then(|| {
        *lock(&plan.struck) = Some(call.to_owned());
        fault
    })
}
