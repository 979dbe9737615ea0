//! The client against an agent that misbehaves.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guest_protocol::client::{Agent, ClientError, LinkError, LinkOptions};
use guest_protocol::link::accept;
use guest_protocol::{GENERATION, LONGEST_TEXT, OLDEST, Signal, WorkloadState};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
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
fn agent_of(generation: u32, status: u16, otherwise: impl Into<Bytes>) -> DuplexStream {
    let otherwise = otherwise.into();
    let (host, agent) = duplex(1 << 20);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let otherwise = otherwise.clone();
            async move {
                let health =
                    format!(r#"{{"generation": {generation}, "version": "0.0.1", "phase": "running"}}"#);
                let (status, body) = match request.uri().path() {
                    "/v1/health" => (200, Bytes::from(health)),
                    _ => (status, otherwise),
                };
                let mut response = Response::new(Full::new(body));
                *response.status_mut() = status.try_into().unwrap();
                Ok::<_, Infallible>(response)
            }
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

/// A guest is not the agent's alone: what it says may be anything, and is shown to people.
#[tokio::test]
async fn what_a_guest_says_of_itself_is_short_and_plain() {
    let said = format!(
        "{}\n{}\n",
        json!({"generation": 1, "version": "1\u{1b}[2J", "phase": "failed", "reason": "x".repeat(60_000),
            "workload": {"state": "failed", "reason": "a\nb\u{7}", "last_line": "\u{1b}]0;title\u{7}"}}),
        json!({"generation": 1, "version": "1", "phase": "running", "workload": {"state": "y".repeat(60_000)}}),
    );
    let agent = Agent::connect(agent_of(GENERATION, 200, said), LinkOptions::default()).await.unwrap();
    let mut watch = agent.watch().await.unwrap();
    let health = watch.next().await.unwrap().unwrap();
    assert_eq!(health.version, "1[2J");
    assert_eq!(health.reason, Some("x".repeat(LONGEST_TEXT)));
    assert_eq!(health.workload.reason.as_deref(), Some("a b"));
    assert_eq!(health.workload.last_line.as_deref(), Some("]0;title"));
    assert_eq!(watch.next().await.unwrap().unwrap().workload.state, WorkloadState::Unknown);
    assert!(watch.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_refusal_and_an_answer_that_is_none_are_told_in_short_and_plain_words() {
    let refusal =
        json!({"code": "busy", "message": format!("\u{1b}[31m{}", "x".repeat(100_000))}).to_string();
    let agent = Agent::connect(agent_of(GENERATION, 429, refusal), LinkOptions::default()).await.unwrap();
    let refused = agent.signal(Signal::TERM).await.unwrap_err().to_string();
    assert!(refused.len() < 2 * LONGEST_TEXT && refused.contains("[31mxxx"), "{refused}");
    assert!(!refused.contains('\u{1b}'), "{refused}");
    // Its text quotes the answer.
    let none = json!({"generation": format!("\u{1b}{}", "z".repeat(60_000))}).to_string() + "\n";
    let agent = Agent::connect(agent_of(GENERATION, 200, none), LinkOptions::default()).await.unwrap();
    let none = agent.watch().await.unwrap().next().await.unwrap_err().to_string();
    assert!(none.len() < 2 * LONGEST_TEXT && none.contains("zzz"), "{none}");
    assert!(!none.contains('\u{1b}'), "{none}");
}

#[tokio::test]
async fn a_health_without_end_is_not_read_on() {
    let said = "x".repeat(1 << 20);
    let agent = Agent::connect(agent_of(GENERATION, 200, said), LinkOptions::default()).await.unwrap();
    let trouble = agent.watch().await.unwrap().next().await.unwrap_err().to_string();
    assert!(trouble.ends_with("a line without end"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_sends_anything_but_an_answer_is_not_listened_to_for_ever() {
    let (host, mut agent) = duplex(1 << 20);
    tokio::spawn(async move {
        let noise = vec![b'x'; 1 << 20];
        while agent.write_all(&noise).await.is_ok() {}
    });
    let options = LinkOptions { connect: Duration::from_secs(86_400), ..LinkOptions::default() };
    let trouble = Agent::connect(host, options).await.unwrap_err().to_string();
    assert!(trouble.ends_with("bytes that are no answer"), "{trouble}");
}
