//! A process beside the workload.

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{Agent, ClientError, body};
use crate::frame::{self, Decoder, Frame};
use crate::{ExecRequest, ExecStarted, Exit, Route, Signal, SignalRequest, Size, input, output};

const WHAT: &str = Route::Exec.verb();
/// How many pieces of input may wait for the link.
const WAITING: usize = 8;

/// A process beside the workload. It ends when this is dropped.
#[derive(Debug)]
pub struct ExecSession {
    /// Its number in the guest.
    pub pid: u32,
    /// What goes to it.
    pub input: ExecInput,
    /// What comes from it.
    pub output: ExecOutput,
}

/// What goes to a process. The input ends with [`ExecInput::end`]; dropping it alone leaves the process waiting.
#[derive(Clone, Debug)]
pub struct ExecInput(mpsc::Sender<Bytes>);

/// What comes from a process.
#[derive(Debug)]
pub struct ExecOutput {
    body: Incoming,
    frames: Decoder,
    ended: bool,
    /// The input's stream stays open as long as the output is wanted.
    _keep: ExecInput,
}

/// What a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// It wrote to its standard output, or its terminal.
    Out(Bytes),
    /// It wrote to its standard error.
    Err(Bytes),
    /// It ended; the last event.
    Exit(Exit),
}

/// What a process did, all in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecResult {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output, or its terminal.
    pub out: Bytes,
    /// Its standard error.
    pub err: Bytes,
}

impl Agent {
    /// Starts a process beside the workload.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such program or user, the seat is not configured, or too many run.
    pub async fn exec(&self, request: &ExecRequest) -> Result<ExecSession, ClientError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let input = ExecInput(sender);
        input.document(input::REQUEST, request).await?;
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((Ok(receiver.recv().await?), receiver))
        });
        let response = self.call(Route::Exec, None, body::stream(pieces)).await?;
        let mut output = ExecOutput {
            body: response.into_body(),
            frames: Decoder::default(),
            ended: false,
            _keep: input.clone(),
        };
        let started = self.in_time(Route::Exec, output.frame()).await??;
        match started {
            Some(Frame { kind: output::STARTED, payload }) => {
                Ok(ExecSession { pid: read::<ExecStarted>(&payload)?.pid, input, output })
            }
            _ => Err(answer("it does not begin with the process's number")),
        }
    }

    /// Runs a process with this input until it ends. Of each output only the first `most` bytes are kept.
    ///
    /// # Errors
    /// As [`Agent::exec`], and when the link is lost before it ends.
    pub async fn run(
        &self,
        request: &ExecRequest,
        input: &[u8],
        most: usize,
    ) -> Result<ExecResult, ClientError> {
        let ExecSession { input: to, output: mut from, .. } = self.exec(request).await?;
        let feed = async {
            // A process that ends early does not read all of it.
            if to.write(input).await.is_ok() {
                drop(to.end().await);
            }
            std::future::pending::<()>().await;
        };
        let collect = async {
            let (mut out, mut err) = (BytesMut::new(), BytesMut::new());
            let keep = |kept: &mut BytesMut, bytes: &Bytes| {
                let room = most.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
            };
            loop {
                match from.next().await? {
                    Some(ExecEvent::Out(bytes)) => keep(&mut out, &bytes),
                    Some(ExecEvent::Err(bytes)) => keep(&mut err, &bytes),
                    Some(ExecEvent::Exit(exit)) => {
                        return Ok(ExecResult { exit, out: out.freeze(), err: err.freeze() });
                    }
                    None => return Err(answer("it ends without the process's end")),
                }
            }
        };
        tokio::select! {
            result = collect => result,
            () = feed => Err(answer("the input ended the process")),
        }
    }
}

impl ExecInput {
    /// Gives the process bytes. Waits while it does not read.
    ///
    /// # Errors
    /// When the process has ended or the link is lost.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.chunks(frame::MAX_PAYLOAD) {
            self.send(frame::encode(input::DATA, piece)).await?;
        }
        Ok(())
    }

    /// Ends the input; a terminal gets its end-of-file character.
    ///
    /// # Errors
    /// As [`ExecInput::write`].
    pub async fn end(&self) -> Result<(), ClientError> {
        self.send(frame::encode(input::END, &[])).await
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    /// As [`ExecInput::write`].
    pub async fn resize(&self, size: Size) -> Result<(), ClientError> {
        self.document(input::RESIZE, &size).await
    }

    /// Sends a signal to the process's group.
    ///
    /// # Errors
    /// As [`ExecInput::write`].
    pub async fn signal(&self, signal: Signal) -> Result<(), ClientError> {
        self.document(input::SIGNAL, &SignalRequest { signal }).await
    }

    async fn document(&self, kind: u8, document: &impl Serialize) -> Result<(), ClientError> {
        let bytes = frame::document(kind, document);
        self.send(bytes.map_err(|why| ClientError::Request { what: WHAT, why: why.to_string() })?).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), ClientError> {
        let lost = |_| ClientError::Lost { what: WHAT, why: "the process has ended".into() };
        self.0.send(bytes).await.map_err(lost)
    }
}

impl ExecOutput {
    /// What it did next; nothing after its end.
    ///
    /// # Errors
    /// When the link is lost, or an answer cannot be read.
    pub async fn next(&mut self) -> Result<Option<ExecEvent>, ClientError> {
        while !self.ended {
            let Some(Frame { kind, payload }) = self.frame().await? else {
                return Err(ClientError::Lost {
                    what: WHAT,
                    why: "it ends without the process's end".into(),
                });
            };
            return Ok(Some(match kind {
                output::OUT => ExecEvent::Out(payload),
                output::ERR => ExecEvent::Err(payload),
                output::EXIT => {
                    self.ended = true;
                    ExecEvent::Exit(read(&payload)?)
                }
                // A newer agent's.
                _ => continue,
            }));
        }
        Ok(None)
    }

    async fn frame(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            if let Some(frame) = self.frames.pop().map_err(|why| answer(&why.to_string()))? {
                return Ok(Some(frame));
            }
            match super::piece(&mut self.body).await {
                Some(Ok(piece)) => self.frames.push(&piece),
                Some(Err(why)) => {
                    return Err(ClientError::Lost { what: WHAT, why: super::error::words(&why) });
                }
                None => return Ok(None),
            }
        }
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(payload).map_err(|why| ClientError::unreadable(WHAT, &why))
}

fn answer(why: &str) -> ClientError {
    ClientError::Answer { what: WHAT, why: why.to_owned() }
}
