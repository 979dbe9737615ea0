//! The agent's side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::scan::Window;
use super::{HELLO, Nonce, OK, PREFACE};

/// Waits for a host: answers its lines, and is done when HTTP/2 begins.
///
/// # Errors
/// When the stream ends or breaks.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<Accepted<S>> {
    let line = HELLO.len() + Nonce::DIGITS + 1;
    let mut window = Window::new(line.max(PREFACE.len()));
    // One who speaks HTTP/2 without a line of his own continues a link that has ended: he is not answered.
    let mut greeted = false;
    loop {
        // Byte by byte, so that nothing behind the preface is taken: there are some hundred of them.
        let byte = stream.read_u8().await?;
        window.push(byte);
        if byte != b'\n' {
            continue;
        }
        if greeted && window.ends_with(PREFACE, 0).is_some() {
            return Ok(Accepted { stream, preface: PREFACE });
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
    /// What of the preface is not read again yet.
    preface: &'static [u8],
}

impl<S> Accepted<S> {
    /// The stream itself.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Accepted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.preface.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let (now, later) = self.preface.split_at(self.preface.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.preface = later;
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
