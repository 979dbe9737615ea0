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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::UnixListener;

    use super::*;

    /// What one who connects reads until `end`, and his answer's way.
    async fn heard(listener: &UnixListener, end: &[u8], answer: &[u8]) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(end) {
            heard.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer).await.unwrap();
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let body = json!({ "state": "Paused" });
        let done = ask(&socket, "PATCH", "/vm", &body);
        let (done, heard) = tokio::join!(done, heard(&listener, b"}", b"HTTP/1.1 204 \r\n\r\n"));
        done.unwrap();
        assert!(
            heard.starts_with("PATCH /vm HTTP/1.1\r\n") && heard.contains("Content-Length: 18\r\n"),
            "{heard}"
        );

        let refusal = b"HTTP/1.1 400 \r\n\r\n{\"fault_message\":\"no\"}";
        let done = ask(&socket, "PATCH", "/vm", &body);
        let (done, _) = tokio::join!(done, self::heard(&listener, b"}", refusal));
        let why = done.unwrap_err().to_string();
        assert!(why.contains("PATCH /vm") && why.contains("\"fault_message\":\"no\""), "{why}");
    }

    #[tokio::test]
    async fn what_stands_behind_the_answer_is_the_guests() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connected = connect(&socket, 1024);
        let (connected, heard) = tokio::join!(connected, heard(&listener, b"\n", b"OK 1073741824\nhello"));
        assert_eq!(heard, "CONNECT 1024\n");
        let mut rest = String::new();
        connected.unwrap().read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
        let (connected, _) = tokio::join!(connect(&socket, 1024), self::heard(&listener, b"\n", b""));
        assert!(connected.is_err(), "nobody listens there");
    }
}
