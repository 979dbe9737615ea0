//! What the workload said.

use bytes::{Buf as _, Bytes};
use http::Response;
use hyper::body::Incoming;

use super::{Agent, ClientError, body};
use crate::frame::Decoder;
use crate::{LogQuery, Route, output};

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// The standard output.
    Out,
    /// The standard error.
    Err,
}

/// A line, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Where it came from.
    pub source: LogSource,
    /// When, in milliseconds since 1970 by the guest's clock.
    pub unix_ms: u64,
    /// Its bytes, with the line end when it has one.
    pub bytes: Bytes,
}

/// What the workload said, line by line.
#[derive(Debug)]
pub struct Logs {
    body: Incoming,
    frames: Decoder,
}

impl Agent {
    /// What the workload said.
    ///
    /// # Errors
    /// When the link is lost or the agent does not answer in time.
    pub async fn logs(&self, query: LogQuery) -> Result<Logs, ClientError> {
        let response = self.call(Route::Logs, Some(&query.to_query()), body::empty()).await?;
        Ok(Logs::new(response))
    }
}

impl Logs {
    fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), frames: Decoder::default() }
    }

    /// The next line; nothing at the end.
    ///
    /// # Errors
    /// When the link is lost, or an answer cannot be read.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        let what = Route::Logs.verb();
        let broken = |why: String| ClientError::Answer { what, why };
        loop {
            if let Some(mut frame) = self.frames.pop().map_err(|why| broken(why.to_string()))? {
                let source = match frame.kind {
                    output::OUT => LogSource::Out,
                    output::ERR => LogSource::Err,
                    // A newer agent's.
                    _ => continue,
                };
                let unix_ms = frame.payload.try_get_u64().map_err(|why| broken(why.to_string()))?;
                return Ok(Some(LogLine { source, unix_ms, bytes: frame.payload }));
            }
            match super::piece(&mut self.body).await {
                Some(Ok(piece)) => self.frames.push(&piece),
                Some(Err(why)) => return Err(ClientError::Lost { what, why: super::error::words(&why) }),
                None if self.frames.is_empty() => return Ok(None),
                None => return Err(broken("it ends in the middle of a line".into())),
            }
        }
    }
}
