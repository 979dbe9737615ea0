//! The virtio-serial port that carries the link.
//!
//! The port says that nobody is at the other end by ending: reads give nothing, and `poll` says HUP until somebody comes. A
//! runtime takes HUP for the end of a file and never waits again, so what it watches here is not the port, but two epoll
//! instances that watch it for edges (epoll(7)): each change makes them readable once.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::sys;

/// The port. Its clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Port(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: OwnedFd,
    readable: AsyncFd<OwnedFd>,
    writable: AsyncFd<OwnedFd>,
}

impl Port {
    /// The device of the port with this name, if it is there.
    pub(super) fn find(name: &str) -> io::Result<Option<PathBuf>> {
        find_in(Path::new("/sys/class/virtio-ports"), name)
    }

    /// Opens it. Only one process can.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        Self::of(rustix::fs::open(path, flags, Mode::empty())?)
    }

    fn of(port: OwnedFd) -> io::Result<Self> {
        let readable = edges(&port, EventFlags::IN)?;
        let writable = edges(&port, EventFlags::OUT)?;
        Ok(Self(Arc::new(Inner { port, readable, writable })))
    }

    /// Waits until somebody is at the other end.
    pub(super) async fn connected(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.writable.readable().await?;
            drain(self.0.writable.get_ref());
            if is_connected(&self.0.port)? {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

fn find_in(class: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(class) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let known = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let device = Path::new("/dev").join(entry.file_name());
        if known.trim_end() == name && device.exists() {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

/// An epoll instance that becomes readable once for each change.
fn edges(port: &OwnedFd, what: EventFlags) -> io::Result<AsyncFd<OwnedFd>> {
    let watch = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&watch, port, EventData::new_u64(0), what | EventFlags::ET)?;
    sys::watched(watch, Interest::READABLE)
}

/// Takes the change away.
fn drain(watch: impl AsFd) {
    let mut events = Vec::with_capacity(2);
    // What it was is found out by trying.
    let _ = epoll::wait(watch, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()));
}

fn is_connected(port: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(port, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(!polled[0].revents().contains(PollFlags::HUP))
}

/// Tries until it works, and waits for the next change in between.
fn attempt<T>(
    watch: &AsyncFd<OwnedFd>,
    cx: &mut Context<'_>,
    mut work: impl FnMut() -> rustix::io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match work() {
            Err(rustix::io::Errno::AGAIN) => {}
            Err(rustix::io::Errno::INTR) => continue,
            done => return Poll::Ready(done.map_err(io::Error::from)),
        }
        let mut guard = ready!(watch.poll_read_ready(cx))?;
        drain(watch.get_ref());
        // A change that came before it was taken away shows now.
        match work() {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => guard.clear_ready(),
            done => return Poll::Ready(done.map_err(io::Error::from)),
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Inner { port, readable, .. } = &*self.0;
        let size = ready!(attempt(readable, cx, || rustix::io::read(port, buffer.initialize_unfilled())))?;
        buffer.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Inner { port, writable, .. } = &*self.0;
        attempt(writable, cx, || rustix::io::write(port, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A port has no end of its own.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_port_is_found_by_its_name() {
        let class = tempfile::tempdir().unwrap();
        assert_eq!(find_in(&class.path().join("none"), "x").unwrap(), None);
        for (device, name) in
            [("null", "clarateach.agent\n"), ("not-there", "other\n"), ("zero", "org.qemu\n")]
        {
            fs::create_dir(class.path().join(device)).unwrap();
            fs::write(class.path().join(device).join("name"), name).unwrap();
        }
        assert_eq!(find_in(class.path(), "clarateach.agent").unwrap().unwrap(), Path::new("/dev/null"));
        assert_eq!(find_in(class.path(), "other").unwrap(), None, "its device is not there yet");
    }

    /// More than any buffer holds, in both directions at once: neither waits for ever.
    #[tokio::test]
    async fn bytes_go_both_ways() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut port = Port::of(ours.into()).unwrap();
        let mut writer = port.clone();
        let (mut from, mut to) = tokio::net::UnixStream::from_std(theirs).unwrap().into_split();
        let data: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
        let (mut here, mut there) = (vec![0; data.len()], vec![0; data.len()]);
        let (a, b, c, d) = tokio::join!(
            writer.write_all(&data),
            to.write_all(&data),
            port.read_exact(&mut here),
            from.read_exact(&mut there)
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
        assert!(here == data && there == data);
        drop((from, to));
        assert_eq!(port.read(&mut here).await.unwrap(), 0);
    }
}
