//! Answers that are late, broken off, endless, or not Firecracker's.

use std::time::Duration;

use anyhow::{Result, ensure};
use provider_microvm::vmm::firecracker::{InstanceState, Limits, Machine, Trouble};
use rstest::rstest;

use super::{hasty, said};
use crate::bench::Bench;
use crate::fake::{Options, Trick};
use crate::server::{Reply, Server};

#[tokio::test]
async fn a_slow_answer_is_waited_for_and_a_late_one_is_not() -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![
        ("PUT /machine-config", Trick::Late(Duration::from_millis(200))),
        ("PATCH /vm", Trick::Late(Duration::from_secs(600))),
    ];
    let fake = bench.fake(Options { tricks, ..Options::default() })?;
    let limits = Limits { call: Duration::from_secs(2), ..Limits::default() };
    let fresh = Machine::fresh(bench.api_with(limits)).await?;
    let configured = fresh.configure(&Bench::machine(), &bench.boot()).await?;
    let why = configured.start().await?.pause().await.unwrap_err();
    ensure!(why.to_string() == "seat demo/1: PATCH /vm: Firecracker did not answer within 2 s", "{why}");
    ensure!(matches!(why.trouble, Trouble::Silent(_)) && !why.trouble.is_gone());
    // It had its effect all the same, which is why the state is asked for; and nothing of it is in the way of the next call.
    ensure!(bench.api().state().await? == InstanceState::Paused);
    drop(fake);
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![("PUT /vsock", Trick::Begins(b"HTTP/1.1 204 No Content\r\nServ".to_vec()))];
    let _fake = bench.fake(Options { tricks, ..Options::default() })?;
    let configured = bench.configured().await?;
    let vsock = bench.vsock();
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(50), configured.set_vsock(&vsock)).await;
        ensure!(given_up.is_err());
    }
    configured.start().await?;
    Ok(())
}

#[rstest]
#[case::nothing(b"")]
#[case::half_a_line(b"HTTP/1.1 20")]
#[case::half_a_header(b"HTTP/1.1 200 OK\r\nContent-Le")]
#[case::half_a_body(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"firecracker_ve")]
#[tokio::test]
async fn an_answer_that_is_broken_off_is_none(#[case] bytes: &[u8]) -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![("GET /version", Trick::Says(bytes.to_vec()))];
    let _fake = bench.fake(Options { tricks, ..Options::default() })?;
    let why = Machine::fresh(bench.api()).await.unwrap_err();
    ensure!(matches!(why.trouble, Trouble::Broken(_)), "{why}");
    ensure!(
        why.to_string().starts_with("seat demo/1: GET /version: Firecracker closed its API socket"),
        "{why}"
    );
    Ok(())
}

#[rstest]
#[case::half_a_header(b"HTTP/1.1 200 OK\r\nContent-Le")]
#[case::half_a_body(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"firecracker_ve")]
#[tokio::test]
async fn an_answer_that_does_not_go_on_is_too_late(#[case] bytes: &[u8]) -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![("GET /version", Trick::Begins(bytes.to_vec()))];
    let _fake = bench.fake(Options { tricks, ..Options::default() })?;
    let limits = Limits { call: hasty().call, ..Limits::default() };
    let why = Machine::fresh(bench.api_with(limits)).await.unwrap_err();
    ensure!(matches!(why.trouble, Trouble::Silent(_)), "{why}");
    Ok(())
}

/// An answer with this body and no end of it said.
fn endless(head: &str, piece: &str) -> Vec<u8> {
    format!("{head}{}", piece.repeat((1 << 20) / piece.len())).into_bytes()
}

#[rstest]
#[case::another_protocol(b"220 mail.example ESMTP\r\n".to_vec())]
#[case::no_document(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec())]
#[case::another_document(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"version\": \"1\"}".to_vec())]
#[case::no_body(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())]
#[case::no_version(b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"firecracker_version\": \"x.y.z\"}".to_vec())]
#[case::endless_headers(endless("HTTP/1.1 200 OK\r\n", "X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n"))]
#[case::an_endless_body(endless("HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxx"))]
#[tokio::test]
async fn what_does_not_speak_the_api_is_told_as_that(#[case] bytes: Vec<u8>) -> Result<()> {
    let bench = Bench::new()?;
    let tricks = vec![("GET /version", Trick::Says(bytes))];
    let _fake = bench.fake(Options { tricks, ..Options::default() })?;
    let why = Machine::fresh(bench.api()).await.unwrap_err();
    ensure!(matches!(why.trouble, Trouble::Garbage(_)), "{why:?}");
    ensure!(why.to_string().starts_with("seat demo/1: GET /version: what answers does not speak"), "{why}");
    Ok(())
}

#[rstest]
#[case("1.15.1", Some("it is Firecracker 1.15.1, and at least 1.16.0 is needed: install a newer one"))]
#[case("0.25.2", Some("it is Firecracker 0.25.2, and at least 1.16.0 is needed: install a newer one"))]
#[case("1.16.0", None)]
#[case("1.17.0-dev", None)]
#[tokio::test]
async fn old_ones_are_refused(#[case] version: &str, #[case] refused: Option<&str>) -> Result<()> {
    let bench = Bench::new()?;
    let _fake = bench.fake(Options { version: version.into(), ..Options::default() })?;
    let fresh = Machine::fresh(bench.api()).await;
    match refused {
        None => ensure!(fresh?.version().to_string() == version.trim_end_matches("-dev")),
        Some(why) => ensure!(said(fresh) == format!("seat demo/1: GET /version: {why}")),
    }
    Ok(())
}

#[rstest]
#[case::a_fault(400, r#"{"fault_message": "two\nlines\u001b[31m"}"#, "two lines [31m")]
#[case::of_the_server(400, r#"{"error": "Invalid header."}"#, "Invalid header.")]
#[case::no_document(
    503,
    "Too many open connections.",
    "status 503 Service Unavailable Too many open connections."
)]
#[case::nothing(500, "", "status 500 Internal Server Error")]
#[tokio::test]
async fn every_refusal_has_words(#[case] status: u16, #[case] body: &str, #[case] fault: &str) -> Result<()> {
    let bench = Bench::new()?;
    let body = body.to_owned();
    let _server =
        Server::start(&bench.path("api.sock"), move |_| Reply::Answer { status, body: body.clone() })?;
    let why = bench.api().version().await;
    ensure!(said(why) == format!("seat demo/1: GET /version: Firecracker refuses: {fault}"));
    Ok(())
}

#[tokio::test]
async fn a_fault_is_told_in_part_when_it_is_long() -> Result<()> {
    let bench = Bench::new()?;
    let body = format!(r#"{{"fault_message": "{}"}}"#, "long ".repeat(5000));
    let _server =
        Server::start(&bench.path("api.sock"), move |_| Reply::Answer { status: 400, body: body.clone() })?;
    let why = said(bench.api().version().await);
    ensure!((1000..3000).contains(&why.len()), "{} bytes", why.len());
    Ok(())
}
