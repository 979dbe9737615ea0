//! Speaks to the QEMU of one VM, over a connection that is made anew when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::{Qmp, QmpError};
use crate::vmm::{RunFolder, folder, limits};

/// The control socket of one VM.
#[derive(Debug)]
pub(in crate::vmm) struct Control {
    folder: RunFolder,
    limit: Duration,
    qmp: Mutex<Option<Arc<Qmp>>>,
}

impl Control {
    pub(in crate::vmm) fn new(folder: RunFolder) -> Self {
        Self { folder, limit: limits::COMMAND, qmp: Mutex::new(None) }
    }

    /// The connection.
    pub(in crate::vmm) async fn qmp(&self) -> Result<Arc<Qmp>, QmpError> {
        let mut kept = self.qmp.lock().await;
        match &*kept {
            Some(qmp) if !qmp.is_over() => Ok(Arc::clone(qmp)),
            _ => {
                // The old one is closed first: QEMU takes one at a time.
                *kept = None;
                let stream = connect(&self.folder, folder::QMP)
                    .map_err(|why| QmpError::Unreachable(why.to_string()))?;
                let qmp = Arc::new(Qmp::begin(stream, self.limit).await?);
                *kept = Some(Arc::clone(&qmp));
                Ok(qmp)
            }
        }
    }
}

/// Connects to a socket of a VM.
pub(in crate::vmm) fn connect(folder: &RunFolder, name: &str) -> std::io::Result<UnixStream> {
    // A unix socket connects at once or not at all, but for a full queue of its listener, which is an error here.
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
        None,
    )?;
    folder.with_short(name, |path| {
        let address = rustix::net::SocketAddrUnix::new(path)?;
        Ok(rustix::net::connect(&socket, &address)?)
    })?;
    UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))
}
