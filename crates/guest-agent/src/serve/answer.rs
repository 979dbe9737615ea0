//! Answers.

use std::io;

use bytes::Bytes;
use guest_protocol::Problem;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How many pieces may wait for the link.
const WAITING: usize = 4;

fn full(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn document(document: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(document) {
        Ok(bytes) => full(StatusCode::OK, bytes),
        Err(_) => full(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let mut response = document(problem);
    *response.status_mut() =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

pub(super) fn nothing() -> Response<Body> {
    full(StatusCode::NO_CONTENT, Vec::new())
}

/// An answer that comes in pieces, and the end by which they are given.
pub(super) fn pieces() -> (mpsc::Sender<io::Result<Bytes>>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let stream =
        futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<io::Result<Bytes>>| async {
            Some((receiver.recv().await?.map(Frame::data), receiver))
        });
    (sender, Response::new(StreamBody::new(stream).boxed_unsync()))
}

/// Why a document cannot be read, without its values: serde quotes what it did not expect.
pub(super) fn unquoted(why: &serde_json::Error) -> String {
    let kind = match why.classify() {
        serde_json::error::Category::Data => "does not have the members that it should",
        _ => "is no JSON",
    };
    format!("the document {kind}, at line {}, column {}", why.line(), why.column())
}
