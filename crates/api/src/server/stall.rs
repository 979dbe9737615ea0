//! A connection whose client must go on reading.
//!
//! A client that asks and does not read the answer keeps its connection for nothing: the answer waits in the kernel's
//! buffer, and the place in [`ServerLimits`](super::ServerLimits) is taken from somebody else. So from the moment that
//! a write has to wait, the client has a period in which it takes a little, and another one as long as it does.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client takes in each period at least, in bytes: at thirty seconds that is a bad telephone line.
const LEAST: usize = 64 * 1024;

/// A stream that fails a write for which the other side is too slow.
#[derive(Debug)]
pub(super) struct Stalling<S> {
    stream: S,
    period: Duration,
    /// The running period.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes since it began.
    taken: usize,
    /// Whether the last write had to wait: a period that ends while there is nothing to write says nothing.
    stuck: bool,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, period: Duration) -> Self {
        Self { stream, period, waiting: None, taken: 0, stuck: false }
    }

    /// What becomes of a write: progress, a wait, or the end of patience.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(outcome) = written {
            if let Ok(bytes) = outcome {
                self.taken = self.taken.saturating_add(bytes);
            }
            self.stuck = false;
            return Poll::Ready(outcome);
        }
        let was_stuck = std::mem::replace(&mut self.stuck, true);
        loop {
            let period = self.period;
            let taken = &mut self.taken;
            let waiting = self.waiting.get_or_insert_with(|| {
                *taken = 0;
                Box::pin(sleep(period))
            });
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
            if was_stuck && self.taken < LEAST {
                return Poll::Ready(Err(Error::new(
                    ErrorKind::TimedOut,
                    "the client does not read the answer",
                )));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_loses_its_connection() {
        let (client, server) = duplex(1024);
        let mut server = Stalling::new(server, PERIOD);
        let error = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_reads_a_crumb_now_and_then_does_too() {
        let (mut client, server) = duplex(1024);
        let mut server = Stalling::new(server, PERIOD);
        let crumbs = tokio::spawn(async move {
            let mut crumb = [0; 16];
            while client.read_exact(&mut crumb).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = server.write_all(&[0; 1024 * 1024]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(server);
        crumbs.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_gets_all_of_it_and_a_silent_stream_has_all_the_time() {
        let (mut client, server) = duplex(64 * 1024);
        let mut server = Stalling::new(server, PERIOD);
        let reading = tokio::spawn(async move {
            let (mut got, mut piece) = (0, vec![0; 48 * 1024]);
            while let Ok(read @ 1..) = client.read(&mut piece).await {
                got += read;
                sleep(Duration::from_secs(15)).await;
            }
            got
        });
        server.write_all(&[0; 1024 * 1024]).await.unwrap();
        // Nothing to send is no fault of the client.
        sleep(PERIOD * 100).await;
        server.write_all(&[0; 1024 * 1024]).await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(reading.await.unwrap(), 2 * 1024 * 1024);
    }
}
