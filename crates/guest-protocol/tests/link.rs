//! The preamble: garbage, half lines, hosts that come back.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use guest_protocol::link::{Nonce, accept, open};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

const AGAIN: Duration = Duration::from_millis(200);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

proptest! {
    /// Whatever is on the stream in either direction, both sides find the same beginning, and nothing is lost behind it.
    #[test]
    fn both_sides_find_the_beginning(
        to_agent in prop::collection::vec(any::<u8>(), 0..3000),
        to_host in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        run(async {
            let (mut host, mut agent) = duplex(8 << 10);
            host.write_all(&to_agent).await.unwrap();
            agent.write_all(&to_host).await.unwrap();
            let host_side = async {
                open(&mut host, AGAIN).await.unwrap();
                host.write_all(PREFACE).await.unwrap();
                host.write_all(b"from the host").await.unwrap();
                let mut answer = [0; 14];
                host.read_exact(&mut answer).await.unwrap();
                answer
            };
            let agent_side = async {
                let mut accepted = accept(&mut agent).await.unwrap();
                let mut got = vec![0; PREFACE.len() + 13];
                accepted.read_exact(&mut got).await.unwrap();
                accepted.write_all(b"from the agent").await.unwrap();
                got
            };
            let (answer, got) = tokio::join!(host_side, agent_side);
            assert_eq!(&answer, b"from the agent");
            assert_eq!(got, [PREFACE, b"from the host"].concat());
        });
    }
}

#[test]
fn a_half_line_of_a_host_that_died_is_passed_over() {
    run(async {
        let (mut host, mut agent) = duplex(1024);
        host.write_all(b"CLARATEACH-LINK 1 0123456789CLARATEACH-LINK 1 zz\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let (opened, accepted) = tokio::join!(
            async {
                let opened = open(&mut host, AGAIN).await.unwrap();
                host.write_all(PREFACE).await.unwrap();
                opened
            },
            accept(&mut agent)
        );
        assert_eq!(opened.asked, 1);
        accepted.unwrap();
    });
}

/// An agent that is in the middle of a frame swallows what comes until the frame is full.
#[test]
fn a_line_that_went_into_a_frame_is_asked_again() {
    run(async {
        let (mut host, mut agent) = duplex(64 << 10);
        let agent_side = async {
            agent.write_all(b"the rest of an answer, and no line end").await.unwrap();
            let mut frame = [0; 16 << 10];
            agent.read_exact(&mut frame).await.unwrap();
            accept(&mut agent).await.unwrap();
        };
        let host_side = async {
            let opened = open(&mut host, AGAIN).await.unwrap();
            host.write_all(PREFACE).await.unwrap();
            opened
        };
        let ((), opened) = tokio::join!(agent_side, host_side);
        assert_eq!(opened.asked, 2);
    });
}

/// An answer that comes late is passed over, and leaves nothing behind the one that counts.
#[test]
fn only_the_answer_to_the_last_question_counts() {
    run(async {
        let (mut host, mut agent) = duplex(64 << 10);
        let agent_side = async {
            tokio::time::sleep(AGAIN * 3).await;
            let mut accepted = accept(&mut agent).await.unwrap();
            accepted.write_all(b"first").await.unwrap();
        };
        let host_side = async {
            let opened = open(&mut host, AGAIN).await.unwrap();
            host.write_all(PREFACE).await.unwrap();
            let mut first = [0; 5];
            host.read_exact(&mut first).await.unwrap();
            (opened, first)
        };
        let ((), (opened, first)) = tokio::join!(agent_side, host_side);
        assert!(opened.asked > 1);
        assert_eq!(&first, b"first");
    });
}

#[test]
fn a_stream_that_ends_is_an_error_on_both_sides() {
    run(async {
        let (mut host, agent) = duplex(64);
        drop(agent);
        assert!(open(&mut host, AGAIN).await.is_err());
        let (mut host, mut agent) = duplex(64);
        host.write_all(b"CLARATEACH-LINK 1 ").await.unwrap();
        drop(host);
        assert!(accept(&mut agent).await.is_err());
    });
}

/// A host that did not ask continues a link that has ended.
#[test]
fn http_without_a_question_is_not_taken() {
    run(async {
        let (mut host, mut agent) = duplex(1024);
        host.write_all(PREFACE).await.unwrap();
        let nonce = "0123456789abcdef0123456789abcdef";
        host.write_all(format!("CLARATEACH-LINK 1 {nonce}\n").as_bytes()).await.unwrap();
        let accepting = tokio::spawn(async move { accept(&mut agent).await.is_ok() });
        let mut answer = vec![0; 3 + nonce.len() + 1];
        host.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("OK {nonce}\n").into_bytes());
        assert!(Nonce::read(&answer[3..35]).is_some());
        host.write_all(PREFACE).await.unwrap();
        assert!(accepting.await.unwrap());
    });
}
