//! The host's side: an agent at the other end of a stream.

mod body;
mod error;
mod exec;
mod files;
mod logs;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::body::Body;
pub use self::error::{ClientError, LinkError};
pub use self::exec::{ExecEvent, ExecInput, ExecOutput, ExecResult, ExecSession};
pub use self::files::Download;
pub use self::logs::{LogLine, LogSource, Logs};
pub use self::watch::Watch;
use crate::{
    GuestConfig, Health, MAX_DOCUMENT, OLDEST, Problem, ProblemCode, Route, SetTime, Signal, SignalRequest,
    StopRequest, link,
};

/// How patient a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// How long it may take until an agent answers that was not heard of before.
    pub connect: Duration,
    /// How long [`Agent::reach`] waits on one stream at first, before it takes another; it doubles with each.
    pub per_stream: Duration,
    /// How long one answer of the preamble may take before the next question.
    pub ask_again: Duration,
    /// How long the agent may take to answer a request.
    pub call: Duration,
    /// How often it is pinged.
    pub ping_every: Duration,
    /// How long a ping may take, before the agent counts as hung and the link as lost.
    pub ping_patience: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            per_stream: Duration::from_secs(5),
            ask_again: Duration::from_millis(500),
            call: Duration::from_secs(30),
            ping_every: Duration::from_secs(5),
            ping_patience: Duration::from_secs(20),
        }
    }
}

/// How long to wait before another stream is made.
const BETWEEN: Duration = Duration::from_millis(100);

/// An agent at the other end of a stream. Its clones share the link, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Agent {
    sender: http2::SendRequest<Body>,
    driver: Arc<Driver>,
    options: LinkOptions,
    generation: u32,
}

/// The task that moves the bytes.
#[derive(Debug)]
struct Driver {
    task: tokio::task::AbortHandle,
    ended: tokio::sync::watch::Receiver<Option<Arc<str>>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    /// Opens the link over a stream: waits for the agent, however much of an older link is still on it, and asks for
    /// its health. Needs a runtime of tokio, on which a task moves the bytes.
    ///
    /// # Errors
    /// When nobody answers in time, the stream breaks, or the agent's generation is older than [`OLDEST`].
    pub async fn connect<S>(stream: S, options: LinkOptions) -> Result<Self, LinkError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opening = Self::open(stream, options);
        timeout(options.connect, opening).await.map_err(|_| LinkError::Silent(options.connect))?
    }

    /// The same over a stream that is made anew when nobody answers on it.
    ///
    /// A monitor may stop sending what the guest writes when a host goes away in the middle, and go on only after the next end of a
    /// connection; this does not depend on it.
    ///
    /// # Errors
    /// The last one, when nobody answered on any stream in `options.connect`; at once when the agent is too old, or when what comes is anything but an answer and without end.
    pub async fn reach<S, W>(make: impl Fn() -> W, options: LinkOptions) -> Result<Self, LinkError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        W: Future<Output = std::io::Result<S>>,
    {
        let mut last = LinkError::Silent(options.connect);
        let mut patience = options.per_stream;
        let trying = async {
            loop {
                let tried = async {
                    let stream = make().await.map_err(LinkError::Stream)?;
                    Self::connect(stream, LinkOptions { connect: patience, ..options }).await
                };
                match tried.await {
                    Ok(agent) => return Ok(agent),
                    Err(why @ LinkError::TooOld(_)) => return Err(why),
                    // What comes is no agent's, and would be on the next stream too.
                    Err(LinkError::Stream(why)) if why.kind() == std::io::ErrorKind::InvalidData => {
                        return Err(LinkError::Stream(why));
                    }
                    // Not the patience of one stream, but of all.
                    Err(LinkError::Silent(_)) => patience = (patience * 2).min(options.connect),
                    Err(why) => last = why,
                }
                tokio::time::sleep(BETWEEN).await;
            }
        };
        match timeout(options.connect, trying).await {
            Ok(done) => done,
            Err(_) => Err(last),
        }
    }

    async fn open<S>(mut stream: S, options: LinkOptions) -> Result<Self, LinkError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opened = link::open(&mut stream, options.ask_again).await.map_err(LinkError::Stream)?;
        tracing::debug!(asked = opened.asked, "the agent answers");
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(options.ping_every)
            .keep_alive_timeout(options.ping_patience)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|why| LinkError::Handshake(error::words(&why)))?;
        let (tell, ended) = tokio::sync::watch::channel(None);
        let task = tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => "it was closed".to_owned(),
                Err(why) => error::words(&why),
            };
            tell.send_replace(Some(why.into()));
        });
        let driver = Arc::new(Driver { task: task.abort_handle(), ended });
        let mut agent = Self { sender, driver, options, generation: 0 };
        agent.generation = agent.health().await.map_err(LinkError::Health)?.generation;
        if agent.generation < OLDEST {
            return Err(LinkError::TooOld(agent.generation));
        }
        Ok(agent)
    }

    /// The generation of the protocol that the agent speaks. A newer one than [`GENERATION`](crate::GENERATION) has all of ours.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether the link has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driver.ended.borrow().is_some() || self.sender.is_closed()
    }

    /// Waits until the link has ended, and says why.
    pub async fn closed(&self) -> LinkError {
        let mut ended = self.driver.ended.clone();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        LinkError::Ended(why.as_deref().unwrap_or("it was closed").to_owned())
    }

    /// How the guest is.
    ///
    /// # Errors
    /// When the link is lost or the agent does not answer in time.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.document(Route::Health, None, body::empty()).await
    }

    /// How the guest is, now and on every change.
    ///
    /// # Errors
    /// When the link is lost or the agent does not answer in time.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        Ok(Watch::new(self.call(Route::Watch, None, body::empty()).await?))
    }

    /// Makes the guest a seat. It is answered when it has begun; [`Agent::watch`] tells how it goes on. The same configuration
    /// again is no error and changes nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is not valid, or the guest has another one already.
    pub async fn configure(&self, config: &GuestConfig) -> Result<Health, ClientError> {
        self.document(Route::Configure, None, body::json(Route::Configure, config)?).await
    }

    /// Sends a signal to the workload's process.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it does not run.
    pub async fn signal(&self, signal: Signal) -> Result<(), ClientError> {
        self.post(Route::Signal, &SignalRequest { signal }).await
    }

    /// Sets the guest's clock at once.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the kernel does not take it.
    pub async fn set_time(&self, unix_ns: u64) -> Result<(), ClientError> {
        self.post(Route::Time, &SetTime { unix_ns }).await
    }

    /// Ends the workload with the image's stop signal, kills it after the deadline, and turns the machine off. It is answered
    /// when it has begun; the link ends with the machine.
    ///
    /// # Errors
    /// When the link is lost or the agent does not answer in time.
    pub async fn stop(&self, deadline: Duration) -> Result<(), ClientError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.post(Route::Stop, &StopRequest { deadline_ms }).await
    }

    async fn post(&self, route: Route, document: &impl Serialize) -> Result<(), ClientError> {
        self.call(route, None, body::json(route, document)?).await.map(drop)
    }

    /// Asks, and reads the answer's document.
    async fn document<T: DeserializeOwned>(
        &self,
        route: Route,
        query: Option<&str>,
        body: Body,
    ) -> Result<T, ClientError> {
        let response = self.call(route, query, body).await?;
        let read = self.in_time(route, body::read(response.into_body(), MAX_DOCUMENT)).await?;
        let bytes = read.map_err(|why| self.lost(route, why))?;
        serde_json::from_slice(&bytes).map_err(|why| ClientError::unreadable(route.verb(), &why))
    }

    /// Asks, and gives the answer when it is a good one.
    async fn call(
        &self,
        route: Route,
        query: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        self.in_time(route, self.call_unhurried(route, query, body)).await?
    }

    /// The same, however long it takes.
    async fn call_unhurried(
        &self,
        route: Route,
        query: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let (method, path) = route.parts();
        let uri = match query {
            Some(query) => format!("http://agent{path}?{query}"),
            None => format!("http://agent{path}"),
        };
        let request = Request::builder().method(method).uri(uri).body(body);
        let request =
            request.map_err(|why| ClientError::Request { what: route.verb(), why: why.to_string() })?;
        let mut sender = self.sender.clone();
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = sent.await.map_err(|why| self.lost(route, error::words(&why)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let read = self.in_time(route, body::read(response.into_body(), MAX_DOCUMENT)).await?;
        let problem = read.ok().and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
        Err(match problem {
            Some(Problem { code: ProblemCode::NoRoute, .. }) => {
                ClientError::Unsupported { what: route.verb(), generation: self.generation }
            }
            Some(problem) => ClientError::Refused { what: route.verb(), problem },
            None => ClientError::Answer { what: route.verb(), why: format!("status {status}") },
        })
    }

    async fn in_time<T>(&self, route: Route, work: impl Future<Output = T>) -> Result<T, ClientError> {
        let after = self.options.call;
        timeout(after, work).await.map_err(|_| ClientError::Deadline { what: route.verb(), after })
    }

    /// Why a request failed: of two reasons the link's own, which came first.
    fn lost(&self, route: Route, why: String) -> ClientError {
        let ended = self.driver.ended.borrow().as_deref().map(str::to_owned);
        ClientError::Lost { what: route.verb(), why: ended.unwrap_or(why) }
    }
}

/// The next piece of an answer; nothing at its end.
async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        // A guest that sends pieces of nothing as fast as it can is not to keep others waiting: what is there already is read without a pause.
        tokio::task::coop::consume_budget().await;
        match body.frame().await? {
            // Trailers say nothing here.
            Ok(frame) => match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(bytes)),
                Err(_) => {}
            },
            Err(why) => return Some(Err(why)),
        }
    }
}
