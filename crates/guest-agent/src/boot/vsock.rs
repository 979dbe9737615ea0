//! The link on a port of the vsock device (vsock(7)): each connection of the host's is a stream of its own.
//!
//! After a machine went on from a snapshot, the connections that it had are reset, and the listener is still there.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::sys;

/// How many hosts may wait: the last one was killed, and its connection not seen to end yet.
const WAITING: i32 = 8;

/// A port that the host connects to.
#[derive(Debug)]
pub(super) struct Listener(AsyncFd<OwnedFd>);

impl Listener {
    /// Begins to listen.
    pub(super) fn bind(port: u32) -> io::Result<Self> {
        let socket = sys::vsock(port)?;
        rustix::net::listen(&socket, WAITING)?;
        Ok(Self(sys::watched(socket, Interest::READABLE)?))
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let mut guard = self.0.readable().await?;
            match rustix::net::accept_with(self.0.get_ref(), flags) {
                // A kernel with vsock's loopback lets any process in here connect, which is not the host; and one that is gone again is nobody.
                Ok(socket) => match sys::is_from_the_host(&socket) {
                    Ok(Some(false)) | Err(_) => {}
                    Ok(Some(true) | None) => return Stream::new(socket),
                },
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                // It was closed again before it was its turn.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
}

/// A connection; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(sys::watched(socket, Interest::READABLE | Interest::WRITABLE)?))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let into = buffer.initialize_unfilled();
            match rustix::net::recv(self.0.get_ref(), into, RecvFlags::empty()) {
                Ok((size, _)) => {
                    buffer.advance(size);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(why) => return Poll::Ready(Err(why.into())),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match rustix::net::send(self.0.get_ref(), bytes, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                done => return Poll::Ready(done.map_err(io::Error::from)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(self.0.get_ref(), Shutdown::Write) {
            // The host was faster.
            Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            done => Poll::Ready(done.map_err(io::Error::from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A listener and a stream are told from others by their address alone: these are of a local socket.
    #[tokio::test]
    async fn hosts_come_one_after_the_other_and_bytes_go_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = Listener(sys::watched(listener.into(), Interest::READABLE).unwrap());
        for _ in 0..2 {
            let connecting = async {
                // The listener waits already.
                tokio::task::yield_now().await;
                tokio::net::UnixStream::connect(&path).await.unwrap()
            };
            let (ours, theirs) = tokio::join!(listener.accept(), connecting);
            let (mut reader, mut writer) = tokio::io::split(ours.unwrap());
            let (mut from, mut to) = theirs.into_split();
            // More than any buffer holds, in both directions at once: neither waits for ever.
            let data: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
            let (mut here, mut there) = (vec![0; data.len()], vec![0; data.len()]);
            let (a, b, c, d) = tokio::join!(
                writer.write_all(&data),
                to.write_all(&data),
                reader.read_exact(&mut here),
                from.read_exact(&mut there)
            );
            assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
            assert!(here == data && there == data);
            drop(to);
            assert_eq!(reader.read(&mut here).await.unwrap(), 0, "the host has ended it");
            writer.shutdown().await.unwrap();
            assert_eq!(from.read(&mut there).await.unwrap(), 0, "we have");
        }
    }

    #[tokio::test]
    async fn a_host_that_is_gone_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(ours.into()).unwrap();
        drop(theirs);
        assert_eq!(stream.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(stream.shutdown().await.is_ok());
    }
}
