//! What runs inside a simulated seat: one task that starts up, answers HTTP, or breaks.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use seats::SeatRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::state::{Run, SimInstance};
use super::{EngineError, Inner};
use crate::image::Behaviour;

/// A running workspace. It ends when this is dropped, and its sockets with it.
pub(crate) struct Process {
    task: AbortHandle,
    pub(crate) endpoints: BTreeMap<u16, String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Process {
    /// Binds the ports at once, so that the endpoints are known, and lets the task answer when it is time.
    pub(super) fn start(world: &Arc<Inner>, instance: &SimInstance) -> Result<Self, EngineError> {
        let mut listeners = Vec::new();
        let mut endpoints = BTreeMap::new();
        for &port in &instance.image.ports {
            let endpoint = if world.options.http {
                let listener =
                    bind().map_err(|error| EngineError::Refused(format!("cannot listen: {error}")))?;
                let address =
                    listener.local_addr().map_err(|error| EngineError::Refused(error.to_string()))?;
                listeners.push(listener);
                format!("http://{address}")
            } else {
                format!("http://{}:{port}", instance.ip)
            };
            endpoints.insert(port, endpoint);
        }
        let workspace = Workspace {
            // Weak, or a world with a running seat would keep itself alive.
            world: Arc::downgrade(world),
            seat: instance.spec.seat.clone(),
            id: instance.id.clone(),
            start_timeout: world.options.start_timeout,
        };
        let task = tokio::spawn(workspace.run(instance.image.behaviour.clone(), listeners)).abort_handle();
        Ok(Self { task, endpoints })
    }
}

/// Bound without an await, because the world's lock is held.
fn bind() -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

struct Workspace {
    world: Weak<Inner>,
    seat: SeatRef,
    id: String,
    start_timeout: Duration,
}

impl Workspace {
    async fn run(self, behaviour: Behaviour, listeners: Vec<TcpListener>) {
        match behaviour {
            Behaviour::Exits { code, last_line } => self.report(Run::Exited { code, last_line }),
            Behaviour::Mute => {
                sleep(self.start_timeout).await;
                self.report(Run::Running { answers: false, overdue: true });
                // Holds its sockets, as a workspace does that listens on nothing useful.
                pending::<()>().await;
            }
            Behaviour::Answers(after) => {
                sleep(after.min(self.start_timeout)).await;
                if let Some(late) = after.checked_sub(self.start_timeout).filter(|late| !late.is_zero()) {
                    self.report(Run::Running { answers: false, overdue: true });
                    sleep(late).await;
                }
                self.report(Run::Running { answers: true, overdue: false });
                self.serve(listeners).await;
            }
        }
    }

    fn report(&self, run: Run) {
        let Some(world) = self.world.upgrade() else { return };
        if let Some(instance) = world.state().instances.get_mut(&self.seat)
            && instance.id == self.id
        {
            instance.run = run;
        }
        world.changed();
    }

    async fn serve(&self, listeners: Vec<TcpListener>) {
        let body =
            format!(r#"{{"status":"ok","workshop":"{}","seat":{}}}"#, self.seat.workshop, self.seat.seat);
        let mut ports = JoinSet::new();
        for listener in listeners {
            ports.spawn(accept(listener, body.clone()));
        }
        ports.join_all().await;
        pending::<()>().await;
    }
}

async fn accept(listener: TcpListener, body: String) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let body = body.clone();
                connections.spawn(async move {
                    // A client that says nothing does not hold the connection for ever.
                    let _ = timeout(Duration::from_secs(30), answer(stream, &body)).await;
                });
            }
            // Out of descriptors, most likely: others are about to close some.
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request and closes. Only the request line counts.
async fn answer(mut stream: TcpStream, body: &str) -> io::Result<()> {
    const MOST: usize = 16 * 1024;
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MOST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let healthy = request.starts_with(b"GET /health ") || request.starts_with(b"GET /health?");
    let (status, body) =
        if healthy { ("200 OK", body) } else { ("404 Not Found", r#"{"status":"not found"}"#) };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
