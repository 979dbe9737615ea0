//! Streams to the ports of a guest's vsock device (docs/vsock.md of Firecracker).
//!
//! ```text
//!   host ── CONNECT 1024\n ──►  Firecracker's socket       a guest that does not listen there: the stream ends
//!        ◄─ OK 1073741824\n ──  and from here on the guest's bytes
//! ```

use std::io;
use std::path::Path;

use guest_protocol::VSOCK_PORT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::vmm::{jail, limits};

/// The longest answer, in bytes: `OK`, a number of 32 bits, and the end of the line.
const LONGEST: usize = 16;

/// Connects to the agent's port of the guest through a socket in a folder.
pub(in crate::vmm) async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let mut stream = jail::connect(folder, name)?;
    match timeout(limits::COMMAND, greet(&mut stream, VSOCK_PORT)).await {
        Ok(greeted) => greeted.map(|()| stream),
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "Firecracker does not answer on its vsock socket"))
        }
    }
}

async fn greet(stream: &mut UnixStream, port: u32) -> io::Result<()> {
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
    let mut line = Vec::new();
    // One byte after the other: what stands behind the line is the guest's.
    while !line.ends_with(b"\n") {
        if line.len() == LONGEST {
            return Err(strange(&line));
        }
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(why) if line.is_empty() && why.kind() == io::ErrorKind::UnexpectedEof => {
                let why = format!("nobody listens on port {port} in the guest");
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, why));
            }
            Err(why) => return Err(why),
        }
    }
    let number = line.strip_prefix(b"OK ").and_then(|rest| rest.strip_suffix(b"\n"));
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if number.is_some_and(is_number) { Ok(()) } else { Err(strange(&line)) }
}

fn strange(line: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(line);
    io::Error::new(io::ErrorKind::InvalidData, format!("Firecracker's vsock socket said {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn greeted(answer: &[u8]) -> (io::Result<()>, Vec<u8>, Vec<u8>) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let serve = async {
            let mut asked = [0; 13];
            theirs.read_exact(&mut asked).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            theirs.shutdown().await.unwrap();
            asked.to_vec()
        };
        let (greeted, asked) = tokio::join!(greet(&mut ours, 1024), serve);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        (greeted, asked, rest)
    }

    #[tokio::test]
    async fn what_stands_behind_the_answer_is_the_guests() {
        let (done, asked, rest) = greeted(b"OK 1073741824\nhello").await;
        done.unwrap();
        assert_eq!((&asked[..], &rest[..]), (&b"CONNECT 1024\n"[..], &b"hello"[..]));
    }

    #[tokio::test]
    async fn a_guest_that_does_not_listen_is_told_from_what_is_no_firecracker() {
        let (done, ..) = greeted(b"").await;
        assert_eq!(done.unwrap_err().to_string(), "nobody listens on port 1024 in the guest");
        for answer in [&b"OK\n"[..], b"OK \n", b"OK x\n", b"NO 1\n", b"220 mail.example ESMTP\r\n"] {
            assert_eq!(greeted(answer).await.0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{answer:?}");
        }
        assert_eq!(greeted(b"OK 10").await.0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
