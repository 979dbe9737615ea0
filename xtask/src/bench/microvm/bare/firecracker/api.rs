//! Firecracker's sockets, asked in the plainest way.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Longer than any answer, in bytes.
const LONGEST: usize = 4096;

/// Whether the one at a socket says that its guest runs.
pub(super) async fn runs(socket: &Path) -> bool {
    ask(socket, "GET", "/", &Value::Null).await.is_ok_and(|answer| answer.contains("\"Running\""))
}

/// Makes a request, and gives the answer back with its head.
pub(super) async fn ask(socket: &Path, method: &str, path: &str, body: &Value) -> Result<String> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    // It writes an answer at once.
    let mut answer = vec![0; LONGEST];
    let read = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 2"), "Firecracker refuses {method} {path}: {answer}");
    Ok(answer)
}

/// Connects to a port of the guest through the socket of its vsock device (docs/vsock.md of Firecracker).
pub(super) async fn connect(socket: &Path, port: u32) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
    let mut line = Vec::new();
    // What stands behind the line is the guest's.
    while !line.ends_with(b"\n") && line.len() < LONGEST {
        line.push(stream.read_u8().await?);
    }
    ensure!(line.starts_with(b"OK "), "the guest's vsock socket said {:?}", String::from_utf8_lossy(&line));
    Ok(stream)
}
