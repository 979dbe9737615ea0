//! The listener, over real connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use api::{ServerLimits, serve};
use provider_sim::{Fault, Gate, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::service::Service;

struct Running {
    service: Service,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn run(limits: ServerLimits) -> Running {
    let service = Service::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = service.router.clone();
    let served = tokio::spawn(async move {
        serve(listener, router, limits, async {
            let _ = stopped.await;
        })
        .await;
    });
    Running { service, address, stop, served }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Everything until the server closes.
async fn all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const CREATE: &[u8] = b"POST /workshops/abc/seats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
    Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"seat\":1}";

async fn creating(running: &Running) -> (TcpStream, Gate) {
    let gate = running.service.world.hang(Fault::at(Step::Create));
    let mut stream = connect(running.address).await;
    stream.write_all(CREATE).await.unwrap();
    gate.reached(1).await;
    (stream, gate)
}

#[tokio::test]
async fn it_answers_over_a_connection() {
    let running = run(ServerLimits::default()).await;
    let mut stream = connect(running.address).await;
    stream.write_all(LIVE).await.unwrap();
    let text = all(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("x-request-id: "), "{text}");
}

#[tokio::test]
async fn a_head_that_is_too_large_or_too_slow_is_ended() {
    let limits = ServerLimits { header_timeout: Duration::from_millis(200), ..ServerLimits::default() };
    let running = run(limits).await;
    let mut large = connect(running.address).await;
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let _ = large.write_all(head.as_bytes()).await;
    assert!(all(&mut large).await.starts_with("HTTP/1.1 431"));
    let mut many = connect(running.address).await;
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(200));
    let _ = many.write_all(head.as_bytes()).await;
    assert!(all(&mut many).await.starts_with("HTTP/1.1 431"));
    let began = Instant::now();
    let mut slow = connect(running.address).await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").await.unwrap();
    all(&mut slow).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_no_http_is_ended() {
    let running = run(ServerLimits::default()).await;
    let mut stream = connect(running.address).await;
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let running = run(ServerLimits { connections: 1, ..ServerLimits::default() }).await;
    let first = connect(running.address).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut second = connect(running.address).await;
    second.write_all(LIVE).await.unwrap();
    let mut byte = [0; 1];
    assert!(timeout(Duration::from_millis(300), second.read(&mut byte)).await.is_err(), "it waits");
    drop(first);
    assert!(all(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_create_in_progress_ends_before_the_service_does() {
    let running = run(ServerLimits::default()).await;
    let (mut stream, gate) = creating(&running).await;
    let mut idle = connect(running.address).await;
    running.stop.send(()).unwrap();
    all(&mut idle).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!running.served.is_finished() && TcpStream::connect(running.address).await.is_err());
    gate.release();
    assert!(all(&mut stream).await.starts_with("HTTP/1.1 201"));
    timeout(Duration::from_secs(5), running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_grace_has_an_end() {
    let running = run(ServerLimits { grace: Duration::from_millis(200), ..ServerLimits::default() }).await;
    let (_stream, _gate) = creating(&running).await;
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(5), running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_closes_leaves_a_whole_seat() {
    let running = run(ServerLimits::default()).await;
    let (stream, gate) = creating(&running).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.release();
    assert_eq!(running.service.lifecycle.drain(Duration::from_secs(10)).await, 0);
    assert_eq!(running.service.settled("/workshops/abc/seats/1").await, "running");
}
