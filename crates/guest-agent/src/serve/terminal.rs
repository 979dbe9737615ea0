//! Our end of a terminal, as a stream.

use std::io;
use std::os::fd::OwnedFd;

use guest_protocol::Size;
use tokio::io::unix::AsyncFd;

use crate::run;

/// Our end of a terminal.
#[derive(Debug)]
pub(super) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    pub(super) fn new(terminal: AsyncFd<OwnedFd>) -> Self {
        Self(terminal)
    }

    /// What was written to it; nothing once nobody has it open any more.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?)) {
                // That is how a terminal says it (pty(7)).
                Ok(Err(why)) if why.raw_os_error() == Some(libc::EIO) => return Ok(0),
                Ok(done) => return done,
                Err(_would_block) => {}
            }
        }
    }

    /// Types on it.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut guard = self.0.writable().await?;
            if let Ok(written) = guard.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }

    pub(super) fn resize(&self, size: Size) -> io::Result<()> {
        run::resize(self.0.get_ref(), size)
    }

    /// The character that ends the input (termios(3)).
    pub(super) fn end(&self) -> u8 {
        let settings = rustix::termios::tcgetattr(self.0.get_ref());
        settings.map_or(4, |settings| settings.special_codes[rustix::termios::SpecialCodeIndex::VEOF])
    }
}
