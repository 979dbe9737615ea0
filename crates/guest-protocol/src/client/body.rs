//! Bodies of requests and answers.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;

use super::ClientError;
use crate::Route;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn json(route: Route, document: &impl Serialize) -> Result<Body, ClientError> {
    match serde_json::to_vec(document) {
        Ok(bytes) => Ok(full(bytes.into())),
        Err(why) => Err(ClientError::Request { what: route.verb(), why: why.to_string() }),
    }
}

pub(super) fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// Reads an answer of at most so many bytes.
pub(super) async fn read(mut body: Incoming, most: usize) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = super::piece(&mut body).await {
        bytes.extend_from_slice(&piece.map_err(|why| super::error::words(&why))?);
        if bytes.len() > most {
            return Err(format!("an answer of more than {most} bytes"));
        }
    }
    Ok(bytes.freeze())
}
