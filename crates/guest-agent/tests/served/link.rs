//! Hosts that go away in the middle of things, come back, or speak of something else.

use std::time::Duration;

use guest_protocol::client::{Agent, LinkOptions};
use guest_protocol::{ExecRequest, LogQuery, PORT, Route};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::agent::{Served, gone, within};

fn options() -> LinkOptions {
    LinkOptions { ask_again: Duration::from_millis(100), ..LinkOptions::default() }
}

#[tokio::test]
async fn a_host_that_dies_in_the_middle_of_anything_leaves_nothing() {
    let (served, agent) = Served::with("while :; do echo x; done").await;
    let session = agent.exec(&ExecRequest::new(["/bin/sleep", "1000"])).await.unwrap();
    let pid = session.pid;
    let _logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    let _watch = agent.watch().await.unwrap();
    let _down = agent.files_down(&"/usr/lib".parse().unwrap()).await.unwrap();
    // Its clones share the link: all go at once, as when a process is killed.
    drop((session, agent, _logs, _watch, _down));
    gone(pid).await;
    let again = served.connect().await;
    assert!(again.health().await.unwrap().workload.pid.is_some());
}

#[tokio::test]
async fn garbage_does_not_end_it() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let pid = agent.health().await.unwrap().workload.pid;
    drop(agent);
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[0; 10_000],
        &[0xff; 10_000],
        b"CLARATEACH-LINK 1 ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = served.stream().await;
        stream.write_all(garbage).await.unwrap();
        // On the same stream there can be a good beginning after it.
        let agent = Agent::connect(stream, options()).await.unwrap();
        assert_eq!(agent.health().await.unwrap().workload.pid, pid);
    }
}

#[tokio::test]
async fn frames_that_are_none_end_the_link_and_nothing_else() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    drop(agent);
    for garbage in [&b"\x00\x00\x04\x07"[..], &[0x41; 500], &[0; 100]] {
        let mut stream = served.stream().await;
        guest_protocol::link::open(&mut stream, Duration::from_millis(100)).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // The next host on the same stream, which had no end in between, as on a serial port.
        let agent = Agent::connect(stream, options()).await.unwrap();
        assert!(agent.health().await.unwrap().workload.pid.is_some());
    }
}

#[tokio::test]
async fn a_new_link_ends_the_old() {
    let (served, old) = Served::with("exec sleep 1000").await;
    let new = served.connect().await;
    let why = within(old.closed()).await;
    assert!(old.is_closed(), "{why}");
    assert!(old.health().await.unwrap_err().to_string().contains("lost"));
    new.health().await.unwrap();
}

/// On a port a host may be killed and followed by another, and the agent sees nothing of that but the bytes.
#[tokio::test]
async fn a_host_follows_another_in_the_middle_of_a_frame() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    drop(agent);
    let mut stream = served.stream().await;
    guest_protocol::link::open(&mut stream, Duration::from_millis(100)).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // Settings, then the beginning of a frame of 16 KiB of which nothing comes.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    stream.write_all(&[0, 0x40, 0, 0, 0, 0, 0, 0, 1]).await.unwrap();
    let agent = within(Agent::connect(stream, options())).await.unwrap();
    agent.health().await.unwrap();
}

#[tokio::test]
async fn a_route_that_is_not_there_is_an_older_agent() {
    // What the client makes of an agent that answers as ours does, one generation on.
    let served = Served::start().await;
    let mut stream = served.stream().await;
    guest_protocol::link::open(&mut stream, Duration::from_millis(100)).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let (ours, theirs) = duplex(64 << 10);
    let (mut read, mut write) = tokio::io::split(theirs);
    let pump = tokio::spawn(async move {
        tokio::join!(tokio::io::copy(&mut read, &mut to), tokio::io::copy(&mut from, &mut write))
    });
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(ours),
        )
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for (method, path) in
        [("GET", "/v1/later"), ("DELETE", "/v1/health"), ("GET", "/"), ("POST", "/v1/health/")]
    {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .body(http_body_util::Empty::new())
            .unwrap();
        let response = within(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), 404, "{method} {path}");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let problem: guest_protocol::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, guest_protocol::ProblemCode::NoRoute);
    }
    // A document that is none.
    for route in [Route::Configure, Route::Signal, Route::Time, Route::Stop, Route::Exec, Route::FilesDown] {
        let (method, path) = route.parts();
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .body(http_body_util::Empty::new())
            .unwrap();
        let response = within(sender.send_request(request)).await.unwrap();
        assert!(response.status().is_client_error(), "{method} {path}: {}", response.status());
    }
    assert_eq!(PORT, "clarateach.agent");
    drop(sender);
    connection.abort();
    pump.abort();
}

/// Bytes that come one at a time, as from a slow line.
#[tokio::test]
async fn a_slow_line_is_a_line() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    drop(agent);
    let stream = served.stream().await;
    let (mut from, mut to) = stream.into_split();
    let (ours, theirs) = duplex(1);
    let (mut read, mut write) = tokio::io::split(theirs);
    let pump = tokio::spawn(async move {
        let one = async {
            let mut byte = [0];
            while read.read_exact(&mut byte).await.is_ok() && to.write_all(&byte).await.is_ok() {}
        };
        tokio::join!(one, tokio::io::copy(&mut from, &mut write))
    });
    let agent = within(Agent::connect(ours, options())).await.unwrap();
    assert!(agent.health().await.unwrap().workload.pid.is_some());
    drop(agent);
    pump.abort();
}
