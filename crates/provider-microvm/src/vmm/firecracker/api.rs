//! One call of Firecracker's API: HTTP/1.1 over a unix socket.
//!
//! Each call has a connection of its own, which costs microseconds on a unix socket: nothing of a call that was given up is left for the next one. The
//! process at the other end belongs to a guest that may have taken it over, so its answers are bounded in size and time, and what it says is
//! cleaned before it is told.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::settings::{Check, SettingError};
use super::{FirecrackerError, Trouble, Version};
use crate::vmm::{jail, limits};

/// The longest request that Firecracker reads, in bytes (`HTTP_MAX_PAYLOAD_SIZE`).
const LONGEST_REQUEST: usize = 51_200;
/// The longest answer that is read, in bytes; the header may be as long again.
const LONGEST_ANSWER: usize = 64 * 1024;
/// As much of a complaint as is told, in characters.
const COMPLAINT: usize = 2000;
/// How often a socket is tried that nobody listens on yet.
const BETWEEN: Duration = Duration::from_millis(5);

/// How long Firecracker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To open its socket after it was started.
    pub open: Duration,
    /// For one call. It waits half a minute for processors that do not stop.
    pub call: Duration,
    /// To start a machine.
    pub start: Duration,
    /// To write or read a snapshot, whose memory file is as large as the guest's memory.
    pub snapshot: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open: limits::START,
            call: limits::COMMAND + Duration::from_secs(5),
            start: limits::START,
            snapshot: Duration::from_secs(300),
        }
    }
}

/// What a process does (`InstanceInfo`, `state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum InstanceState {
    /// It has not started a machine yet.
    #[serde(rename = "Not started")]
    NotStarted,
    /// The processors run.
    Running,
    /// The processors stand.
    Paused,
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not started",
            Self::Running => "running",
            Self::Paused => "paused",
        })
    }
}

/// The API socket of one process. Its clones are the same.
#[derive(Clone, Debug)]
pub struct Api {
    seat: Arc<str>,
    socket: Arc<Path>,
    limits: Limits,
    /// The process whose socket it is, where that is known.
    process: Option<i32>,
    /// The call that has no answer yet, of all clones the last one.
    asked: Arc<Mutex<Option<String>>>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    firecracker_version: String,
}

#[derive(Deserialize)]
struct InstanceAnswer {
    state: InstanceState,
}

/// What an error's body says: Firecracker's own, or that of its HTTP server.
#[derive(Deserialize)]
struct Fault {
    #[serde(alias = "error")]
    fault_message: String,
}

impl Api {
    /// Names a socket, whose path may be longer than the 107 bytes that an address has room for. Nothing is looked at yet.
    #[must_use]
    pub fn new(seat: &str, socket: impl Into<PathBuf>, limits: Limits) -> Self {
        let (seat, socket) = (seat.into(), socket.into().into());
        Self { seat, socket, limits, process: None, asked: Arc::default() }
    }

    /// The same socket, which is this process's.
    pub(in crate::vmm) fn of(self, process: i32) -> Self {
        Self { process: Some(process), ..self }
    }

    /// The same socket with other limits.
    pub(super) fn within(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// The folder that the socket is in, in which the process begins.
    pub(super) fn folder(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits until somebody listens on the socket.
    ///
    /// # Errors
    /// When nobody does in time.
    pub async fn opened(&self) -> Result<(), FirecrackerError> {
        let mut last = None;
        let call = "opening";
        *self.asked() = Some(call.to_owned());
        let opened = async {
            loop {
                match self.connect() {
                    Ok(_) => return,
                    Err(why) => last = Some(why),
                }
                sleep(BETWEEN).await;
            }
        };
        match timeout(self.limits.open, opened).await {
            Ok(()) => {
                *self.asked() = None;
                Ok(())
            }
            Err(_) => Err(self.error(call, last.unwrap_or(Trouble::Silent(self.limits.open)))),
        }
    }

    /// Asks which version it is, and refuses one that is too old.
    ///
    /// # Errors
    /// As all calls, and when it is older than [`Version::LEAST`].
    pub async fn version(&self) -> Result<Version, FirecrackerError> {
        let path = "/version";
        let VersionAnswer { firecracker_version: said } = self.get(path).await?;
        let trouble = match Version::parse(&said) {
            Some(found) if found >= Version::LEAST => return Ok(found),
            Some(found) => Trouble::TooOld { found },
            None => Trouble::Garbage(format!("{:?} is no version", cleaned(&said))),
        };
        Err(self.error(&named(&Method::GET, path), trouble))
    }

    /// Asks what it does.
    ///
    /// # Errors
    /// As all calls.
    pub async fn state(&self) -> Result<InstanceState, FirecrackerError> {
        self.get("/").await.map(|InstanceAnswer { state }| state)
    }

    /// Asks for a document.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, FirecrackerError> {
        let answer = self.call(Method::GET, path, Bytes::new(), self.limits.call).await?;
        serde_json::from_slice(&answer).map_err(|why| {
            let said = cleaned(&String::from_utf8_lossy(&answer));
            self.error(&named(&Method::GET, path), Trouble::Garbage(format!("{said:?}: {why}")))
        })
    }

    /// Sets something.
    pub(super) async fn put(&self, path: &str, what: &impl Check) -> Result<(), FirecrackerError> {
        self.put_within(path, what, self.limits.call).await
    }

    /// Sets something that may take longer or shorter than others.
    pub(super) async fn put_within(
        &self,
        path: &str,
        what: &impl Check,
        limit: Duration,
    ) -> Result<(), FirecrackerError> {
        self.send(Method::PUT, path, what, limit).await
    }

    /// Changes something.
    pub(super) async fn patch(&self, path: &str, what: &impl Check) -> Result<(), FirecrackerError> {
        self.send(Method::PATCH, path, what, self.limits.call).await
    }

    /// Whether there is an interface of this name in the process's network (`proc_pid_net(5)`). Of a process that is gone, or not known, it is not denied.
    pub(super) fn has_interface(&self, name: &str) -> io::Result<bool> {
        let Some(process) = self.process else { return Ok(true) };
        let is_it =
            |line: &str| line.trim_start().split_once(':').is_some_and(|(interface, _)| interface == name);
        match std::fs::read_to_string(format!("/proc/{process}/net/dev")) {
            Ok(all) => Ok(all.lines().any(is_it)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(why) => Err(why),
        }
    }

    /// What is to be told when somebody stops waiting for all that is to be done: the call that was not answered by then; nothing when there is none.
    pub(in crate::vmm) fn unanswered(&self, limit: Duration) -> Option<FirecrackerError> {
        let call = self.asked().clone()?;
        Some(self.error(&call, Trouble::Late(limit)))
    }

    fn asked(&self) -> MutexGuard<'_, Option<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn error(&self, call: &str, trouble: Trouble) -> FirecrackerError {
        FirecrackerError { seat: self.seat.to_string(), call: call.to_owned(), trouble }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        what: &impl Check,
        limit: Duration,
    ) -> Result<(), FirecrackerError> {
        let body = written(what).map_err(|why| self.error(&named(&method, path), Trouble::Setting(why)))?;
        self.call(method, path, body, limit).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, FirecrackerError> {
        let name = named(&method, path);
        *self.asked() = Some(name.clone());
        let exchanged = timeout(limit, self.exchange(method, path, body)).await;
        *self.asked() = None;
        let answer = exchanged.unwrap_or(Err(Trouble::Silent(limit)));
        answer.map_err(|trouble| self.error(&name, trouble))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Trouble> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        request = request.header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|why| Trouble::Setting(SettingError(why.to_string())))?;
        let handshake =
            http1::Builder::new().max_buf_size(LONGEST_ANSWER).handshake(TokioIo::new(self.connect()?));
        let (mut sender, connection) = handshake.await.map_err(|why| Trouble::Broken(words(&why)))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|why| broken(&why))?;
            read(response).await
        };
        tokio::pin!(answered);
        tokio::select! {
            biased;
            answer = &mut answered => answer,
            // Whatever has been read by then is still to be had, and why it ended with it.
            _ = connection => answered.await,
        }
    }

    fn connect(&self) -> Result<UnixStream, Trouble> {
        let unreachable = |why| Trouble::Unreachable { socket: self.socket.to_path_buf(), why };
        let (Some(folder), Some(name)) =
            (self.socket.parent(), self.socket.file_name().and_then(|name| name.to_str()))
        else {
            return Err(unreachable(io::ErrorKind::InvalidInput.into()));
        };
        jail::connect(folder, name).map_err(unreachable)
    }
}

/// A call as errors name it.
fn named(method: &Method, path: &str) -> String {
    format!("{method} {path}")
}

/// The body of a request that sets something.
fn written(what: &impl Check) -> Result<Bytes, SettingError> {
    what.check()?;
    let body = serde_json::to_vec(what).map_err(|why| SettingError(why.to_string()))?;
    if body.len() > LONGEST_REQUEST {
        let long = body.len();
        return Err(SettingError(format!(
            "{long} bytes are more than the {LONGEST_REQUEST} that Firecracker reads"
        )));
    }
    Ok(body.into())
}

/// The body of an answer that says yes.
async fn read(response: Response<Incoming>) -> Result<Bytes, Trouble> {
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let body = body.map_err(|why| match why.downcast::<hyper::Error>() {
        Ok(why) => broken(&why),
        Err(_) => Trouble::Garbage(format!("an answer of more than {LONGEST_ANSWER} bytes")),
    })?;
    let body = body.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    let fault = match serde_json::from_slice(&body) {
        Ok(Fault { fault_message }) => fault_message,
        Err(_) => format!("status {status} {}", String::from_utf8_lossy(&body)),
    };
    Err(Trouble::Refused { status: status.as_u16(), fault: cleaned(&fault) })
}

fn broken(why: &hyper::Error) -> Trouble {
    if why.is_parse() || why.is_parse_too_large() {
        Trouble::Garbage(words(why))
    } else {
        Trouble::Broken(words(why))
    }
}

/// An error with its reasons: hyper's own say little.
fn words(why: &dyn std::error::Error) -> String {
    let mut words = why.to_string();
    let mut source = why.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !words.ends_with(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        source = cause.source();
    }
    words
}

/// What was said, fit to be told: one line of bounded length.
fn cleaned(said: &str) -> String {
    let line = said.chars().map(|char| if char.is_control() { ' ' } else { char });
    line.take(COMPLAINT).collect::<String>().trim().to_owned()
}
