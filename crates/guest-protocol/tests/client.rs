//! The client against an agent that misbehaves.

#![cfg(feature = "client")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guest_protocol::client::{Agent, LinkError, LinkOptions};
use guest_protocol::link::accept;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

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
