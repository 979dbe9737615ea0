//! A process beside the workload: its frames in, and its frames out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use guest_protocol::frame::{self, Decoder, Frame};
use guest_protocol::{
    ExecRequest, ExecStarted, Problem, ProblemCode, Signal, SignalRequest, Size, input, output,
};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::answer::{self, Body};
use super::terminal::Terminal;
use crate::guest::Guest;
use crate::run::{Input, Launched, Stdio, end_session, explain, plan_exec};

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// How long outputs are listened to after the process has ended and they are silent: what it started may still hold them.
const SILENCE: Duration = Duration::from_millis(100);

pub(super) async fn answer(guest: &Arc<Guest>, body: Incoming) -> Result<Response<Body>, Problem> {
    let seat = guest.seat()?;
    let Ok(permit) = guest.execs.clone().try_acquire_owned() else {
        return Err(Problem::new(ProblemCode::Busy, "too many processes beside the workload run already"));
    };
    let mut frames = Frames { body, decoder: Decoder::default() };
    let first = timeout(super::PATIENCE, frames.next()).await.ok().flatten();
    let Some(Frame { kind: input::REQUEST, payload }) = first else {
        return Err(Problem::new(ProblemCode::Invalid, "the first frame is not the request"));
    };
    let request: ExecRequest = serde_json::from_slice(&payload)
        .map_err(|why| Problem::new(ProblemCode::Invalid, answer::unquoted(&why)))?;
    let plan = plan_exec(&seat, &request)?;
    let stdio = request.tty.map_or(Stdio::Pipes, Stdio::Terminal);
    let launched = plan.start(&guest.reaper, stdio).map_err(|why| {
        let code =
            if why.raw_os_error() == Some(libc::EAGAIN) { ProblemCode::Busy } else { ProblemCode::NotFound };
        Problem::new(code, explain(&plan.file, &why))
    })?;
    let (sender, response) = answer::pieces();
    let session = Session { guest: guest.clone(), pid: launched.child.pid, _permit: permit };
    tokio::spawn(session.run(launched, frames, sender));
    Ok(response)
}

struct Session {
    guest: Arc<Guest>,
    pid: u32,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    async fn run(self, launched: Launched, frames: Frames, sender: Sender) {
        let Launched { mut child, input, out, err } = launched;
        if send(&sender, frame::document(output::STARTED, &ExecStarted { pid: self.pid })).await.is_err() {
            return;
        }
        let (feed, terminal) = match input {
            Input::Terminal(terminal) => {
                let terminal = Arc::new(Terminal::new(terminal));
                (Feed::Terminal(terminal.clone()), Some(terminal))
            }
            Input::Pipe(pipe) => (Feed::Pipe(Some(pipe)), None),
            Input::None => (Feed::Pipe(None), None),
        };
        let out_to = To { sender: &sender, passed: AtomicUsize::new(0), waiting: AtomicUsize::new(0) };
        let outputs = async {
            tokio::join!(
                pass_pipe(out, output::OUT, &out_to),
                pass_pipe(err, output::ERR, &out_to),
                pass_terminal(terminal, &out_to)
            );
        };
        tokio::pin!(outputs);
        let inputs = self.inputs(frames, feed);
        tokio::pin!(inputs);
        let mut silent = false;
        let exit = loop {
            tokio::select! {
                exit = child.exited() => break exit,
                () = &mut outputs, if !silent => silent = true,
                // The host has gone, or does not want it any more.
                () = &mut inputs => return,
                () = sender.closed() => return,
            }
        };
        while !silent {
            let before = out_to.passed.load(Relaxed);
            silent = tokio::select! {
                quiet = timeout(SILENCE, &mut outputs) => quiet.is_ok() || out_to.is_quiet_since(before),
                () = sender.closed() => return,
            };
        }
        let _ = send(&sender, frame::document(output::EXIT, &exit)).await;
    }

    /// Does what the host's frames say, until there are no more.
    async fn inputs(&self, mut frames: Frames, mut feed: Feed) {
        while let Some(Frame { kind, payload }) = frames.next().await {
            match kind {
                input::DATA => feed.write(&payload).await,
                input::END => feed.end().await,
                input::RESIZE => {
                    if let (Some(size), Feed::Terminal(terminal)) = (read::<Size>(&payload), &feed) {
                        drop(terminal.resize(size));
                    }
                }
                input::SIGNAL => {
                    if let Some(SignalRequest { signal }) = read(&payload) {
                        self.guest.reaper.signal(self.pid, signal, true);
                    }
                }
                // A newer host's.
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    /// When the process has ended by itself, what it left in the background stays; otherwise all of its session ends.
    fn drop(&mut self) {
        if self.guest.reaper.signal(self.pid, Signal::KILL, false) {
            end_session(self.pid);
        }
    }
}

/// Where the input goes.
enum Feed {
    Pipe(Option<pipe::Sender>),
    Terminal(Arc<Terminal>),
}

impl Feed {
    async fn write(&mut self, bytes: &[u8]) {
        let written = match self {
            Self::Pipe(Some(pipe)) => pipe.write_all(bytes).await,
            Self::Pipe(None) => Ok(()),
            Self::Terminal(terminal) => terminal.write(bytes).await,
        };
        // Nobody reads it any more.
        if let (Err(_), Self::Pipe(pipe)) = (written, &mut *self) {
            *pipe = None;
        }
    }

    async fn end(&mut self) {
        match self {
            Self::Pipe(pipe) => *pipe = None,
            Self::Terminal(terminal) => drop(terminal.write(&[terminal.end()]).await),
        }
    }
}

/// The host's frames.
struct Frames {
    body: Incoming,
    decoder: Decoder,
}

impl Frames {
    /// The next one; nothing when there are no more, or none that can be read.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.pop().ok()? {
                return Some(frame);
            }
            if let Ok(bytes) = self.body.frame().await?.ok()?.into_data() {
                self.decoder.push(&bytes);
            }
        }
    }
}

/// Where the outputs go.
struct To<'a> {
    sender: &'a Sender,
    /// How many pieces went on.
    passed: AtomicUsize,
    /// How many wait for the host to take what was sent before.
    waiting: AtomicUsize,
}

impl To<'_> {
    async fn pass(&self, kind: u8, bytes: &[u8]) -> Result<(), ()> {
        self.waiting.fetch_add(1, Relaxed);
        let sent = self.sender.send(Ok(frame::encode(kind, bytes))).await;
        self.waiting.fetch_sub(1, Relaxed);
        self.passed.fetch_add(1, Relaxed);
        sent.map_err(drop)
    }

    fn is_quiet_since(&self, before: usize) -> bool {
        self.passed.load(Relaxed) == before && self.waiting.load(Relaxed) == 0
    }
}

async fn pass_pipe(pipe: Option<pipe::Receiver>, kind: u8, to: &To<'_>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(size @ 1..) = pipe.read(&mut buffer).await {
        if to.pass(kind, &buffer[..size]).await.is_err() {
            return;
        }
    }
}

async fn pass_terminal(terminal: Option<Arc<Terminal>>, to: &To<'_>) {
    let Some(terminal) = terminal else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(size @ 1..) = terminal.read(&mut buffer).await {
        if to.pass(output::OUT, &buffer[..size]).await.is_err() {
            return;
        }
    }
}

async fn send(sender: &Sender, frame: Result<Bytes, frame::BadFrame>) -> Result<(), ()> {
    sender.send(frame.map_err(io::Error::other)).await.map_err(drop)
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}
