//! The client against an agent that misbehaves.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guest_protocol::client::{Agent, ClientError, LinkError, LinkOptions};
use guest_protocol::link::accept;
use guest_protocol::{GENERATION, OLDEST, Signal};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_is_given_up() {
    let (host, _agent) = duplex(1024);
    let trouble = Agent::connect(host, LinkOptions::default()).await.unwrap_err();
    assert!(matches!(trouble, LinkError::Silent(_)), "{trouble}");
    assert!(trouble.to_string().contains("console"), "{trouble}");
}

#[tokio::test]
async fn an_agent_that_speaks_something_else_is_told_so() {
    let (host, mut agent) = duplex(1024);
    tokio::spawn(async move {
        let mut accepted = accept(&mut agent).await.unwrap();
        accepted.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        accepted.read_to_end(&mut rest).await
    });
    let trouble = Agent::connect(host, LinkOptions::default()).await.unwrap_err();
    assert!(matches!(trouble, LinkError::Health(_) | LinkError::Handshake(_)), "{trouble}");
}

/// The frames of HTTP/2 go to nobody: only the pings tell.
#[tokio::test]
async fn an_agent_that_hangs_is_noticed() {
    let (host, mut agent) = duplex(1 << 20);
    tokio::spawn(async move {
        let _accepted = accept(&mut agent).await.unwrap();
        std::future::pending::<()>().await;
    });
    let short = Duration::from_millis(50);
    let options = LinkOptions { ping_every: short, ping_patience: short, ..LinkOptions::default() };
    let trouble = Agent::connect(host, options).await.unwrap_err();
    assert!(matches!(trouble, LinkError::Health(_)), "{trouble}");
    assert!(trouble.to_string().contains("lost"), "{trouble}");
}

/// On one stream nobody answers, another cannot be made; on the third there is an agent, as far as its first answer.
#[tokio::test(start_paused = true)]
async fn another_stream_is_taken_when_nobody_answers() {
    let made = Arc::new(AtomicUsize::new(0));
    let make = || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        async move {
            let (host, mut agent) = duplex(1 << 20);
            match number {
                // It is there, and says nothing.
                0 => drop(tokio::spawn(async move {
                    let mut all = Vec::new();
                    agent.read_to_end(&mut all).await
                })),
                1 => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                _ => drop(tokio::spawn(async move {
                    let mut accepted = accept(&mut agent).await.unwrap();
                    accepted.write_all(b"no frame").await
                })),
            }
            Ok(host)
        }
    };
    let trouble = Agent::reach(make, LinkOptions::default()).await.unwrap_err();
    assert!(made.load(Ordering::Relaxed) > 2);
    // The last trouble that says more than silence.
    assert!(
        matches!(trouble, LinkError::Health(_) | LinkError::Handshake(_) | LinkError::Stream(_)),
        "{trouble}"
    );
}

/// An agent of this generation, which tells its health and has this answer to everything else; the host's end of the stream to it.
fn agent_of(generation: u32, status: u16, otherwise: &'static str) -> DuplexStream {
    let (host, agent) = duplex(1 << 20);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<Incoming>| async move {
            let health = format!(r#"{{"generation": {generation}, "version": "0.0.1", "phase": "running"}}"#);
            let (status, body) = match request.uri().path() {
                "/v1/health" => (200, Bytes::from(health)),
                _ => (status, Bytes::from_static(otherwise.as_bytes())),
            };
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status.try_into().unwrap();
            Ok::<_, Infallible>(response)
        });
        let stream = TokioIo::new(accept(agent).await.unwrap());
        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
    });
    host
}

/// What an agent says of a route that it does not know.
const NO_ROUTE: &str = r#"{"code": "no_route", "message": "this agent has no such route"}"#;

#[tokio::test]
async fn an_agent_that_is_too_old_is_refused_at_once() {
    let made = AtomicUsize::new(0);
    let make = || {
        made.fetch_add(1, Ordering::Relaxed);
        async { Ok(agent_of(OLDEST - 1, 404, NO_ROUTE)) }
    };
    // It will not be another one on another stream.
    let trouble = Agent::reach(make, LinkOptions::default()).await.unwrap_err();
    assert!(matches!(trouble, LinkError::TooOld(0)), "{trouble}");
    assert_eq!(made.load(Ordering::Relaxed), 1);
    let words = trouble.to_string();
    assert!(words.contains("generation 0") && words.contains("make the seat again"), "{words}");
}

#[tokio::test]
async fn what_an_older_agent_does_not_know_is_told_with_its_generation() {
    let agent = Agent::connect(agent_of(OLDEST, 404, NO_ROUTE), LinkOptions::default()).await.unwrap();
    let trouble = agent.signal(Signal::TERM).await.unwrap_err();
    assert!(
        matches!(trouble, ClientError::Unsupported { what: "send a signal", generation: OLDEST }),
        "{trouble}"
    );
    assert!(trouble.to_string().contains("make the seat again"), "{trouble}");
    // The link is good still.
    assert_eq!(agent.health().await.unwrap().generation, OLDEST);
    assert!(!agent.is_closed());
}

#[tokio::test]
async fn a_newer_agent_is_spoken_to_and_a_404_of_another_kind_is_no_missing_route() {
    let no_file = r#"{"code": "not_found", "message": "there is no such file"}"#;
    let agent = Agent::connect(agent_of(GENERATION + 1, 404, no_file), LinkOptions::default()).await.unwrap();
    assert_eq!(agent.generation(), GENERATION + 1);
    let trouble = agent.set_time(1).await.unwrap_err();
    assert!(matches!(trouble, ClientError::Refused { what: "set the clock", .. }), "{trouble}");
    assert!(trouble.to_string().contains("there is no such file"), "{trouble}");

    let agent =
        Agent::connect(agent_of(GENERATION, 404, "nothing here"), LinkOptions::default()).await.unwrap();
    let trouble = agent.set_time(1).await.unwrap_err();
    assert!(matches!(trouble, ClientError::Answer { .. }), "{trouble}");
    assert!(trouble.to_string().contains("404"), "{trouble}");
}
