//! Health on every change.

use bytes::BytesMut;
use http::Response;
use hyper::body::Incoming;

use super::ClientError;
use crate::{Health, MAX_DOCUMENT, Route};

/// A guest's health: the first one at once, then one for every change. What changes faster than it is read is told once.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    bytes: BytesMut,
}

impl Watch {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), bytes: BytesMut::new() }
    }

    /// The next one; nothing when the agent ends.
    ///
    /// # Errors
    /// When the link is lost, or an answer cannot be read.
    pub async fn next(&mut self) -> Result<Option<Health>, ClientError> {
        let what = Route::Watch.verb();
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line = self.bytes.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|why| ClientError::Answer { what, why: why.to_string() });
            }
            if self.bytes.len() > MAX_DOCUMENT {
                return Err(ClientError::Answer { what, why: "a line without end".into() });
            }
            match super::piece(&mut self.body).await {
                Some(Ok(piece)) => self.bytes.extend_from_slice(&piece),
                Some(Err(why)) => return Err(ClientError::Lost { what, why: super::error::words(&why) }),
                None => return Ok(None),
            }
        }
    }
}
