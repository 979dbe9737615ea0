//! The agent's side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::scan::Window;
use super::{HELLO, Nonce, OK, PIECE, PREFACE};

/// Waits for a host: answers its lines, and is done when HTTP/2 begins.
///
/// # Errors
/// When the stream ends or breaks.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<Accepted<S>> {
    let line = HELLO.len() + Nonce::DIGITS + 1;
    let mut window = Window::new(line.max(PREFACE.len()));
    // One who speaks HTTP/2 without a line of his own continues a link that has ended: he is not answered.
    let mut greeted = false;
    let mut bytes = BytesMut::with_capacity(PIECE);
    loop {
        if bytes.is_empty() && stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let byte = bytes.get_u8();
        window.push(byte);
        if byte != b'\n' {
            continue;
        }
        if greeted && window.ends_with(PREFACE, 0).is_some() {
            let read = [PREFACE, &bytes].concat().into();
            return Ok(Accepted { stream, read });
        }
        let asked = window.ends_with(HELLO, Nonce::DIGITS + 1);
        if let Some(nonce) = asked.and_then(|text| Nonce::read(&text[..Nonce::DIGITS])) {
            let answer = [OK, nonce.digits(), b"\n"].concat();
            stream.write_all(&answer).await?;
            stream.flush().await?;
            greeted = true;
        }
    }
}

/// A stream at the beginning of HTTP/2.
#[derive(Debug)]
pub struct Accepted<S> {
    stream: S,
    /// What was read already, from the preface on.
    read: Bytes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Accepted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let now = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Accepted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The end of HTTP/2 is not the end of the stream: another beginning may follow.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
