//! A VM that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use seats::Measurement;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::control::{Control, Way};
use super::identity::{self, Identity};
use super::keeper::client::Launching;
use super::{Exit, MonitorKind, RunFolder, Throttle, VmSpec, VmmError, firecracker, folder, limits};

mod ending;
mod pending;

pub(super) use ending::clear;
pub(super) use pending::{adopt, start};

/// A VM that runs, or ran when this was made. It goes on when this is dropped.
#[derive(Debug)]
pub struct Vm {
    folder: RunFolder,
    identity: Identity,
    vmm: AsyncFd<OwnedFd>,
    /// Nothing when the keeper had ended already.
    keeper: Option<AsyncFd<OwnedFd>>,
    control: Control,
    /// Nothing when its monitor has nothing to read.
    reading: Option<firecracker::Reading>,
}

impl Vm {
    /// Which processes it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_alive(&self) -> Result<bool, VmmError> {
        let ended = identity::ended(self.vmm.get_ref());
        ended.map(|ended| !ended).map_err(VmmError::io(self.seat(), "asking for the VM's process"))
    }

    /// Waits for its end, and tells how that was. The end is seen at once; how it was as soon as the keeper has written it down.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn exited(&self) -> Result<Exit, VmmError> {
        let io = VmmError::io(self.seat(), "waiting for the VM's process");
        self.vmm.readable().await.map_err(io)?.retain_ready();
        if let Some(keeper) = &self.keeper
            && timeout(limits::END, keeper.readable()).await.is_err()
        {
            tracing::warn!(seat = self.seat(), "the keeper of a VM that has ended does not end");
        }
        // A file that is not understood tells as little as none.
        Ok(self.folder.exit().ok().flatten().unwrap_or_else(Exit::unknown))
    }

    /// Opens the byte stream to the guest's agent. That somebody listens in the guest is not said by that, unless the monitor is Firecracker. Of QEMU's there
    /// is one at a time: another one waits, unseen, until this one is closed.
    ///
    /// # Errors
    /// When the VM has no socket any more.
    pub async fn connect_agent(&self) -> Result<UnixStream, VmmError> {
        let connected = match self.identity.monitor {
            MonitorKind::Qemu => self.folder.connect(folder::AGENT),
            MonitorKind::Firecracker => {
                firecracker::connect(&self.identity.sockets(&self.folder), folder::AGENT).await
            }
        };
        connected.map_err(VmmError::io(self.seat(), "connecting to the agent's port"))
    }

    /// Waits until somebody in the guest has opened the agent's port.
    ///
    /// # Errors
    /// When the VM ends before, or its monitor does not answer.
    pub async fn agent_listens(&self) -> Result<(), VmmError> {
        let opened = async {
            while !self.is_agent_there().await? {
                tokio::time::sleep(limits::LOOK).await;
            }
            Ok(())
        };
        let ended = |exit| VmmError::Ended { seat: self.seat().to_owned(), exit: Box::new(exit) };
        let why = tokio::select! {
            biased;
            exit = self.exited() => return Err(ended(exit?)),
            opened = opened => match opened {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        // A monitor that ends does not answer from a moment before on.
        match timeout(limits::ENDING, self.exited()).await {
            Ok(exit) => Err(ended(exit?)),
            Err(_) => Err(why),
        }
    }

    /// Whether somebody in the guest has opened the agent's port. Of Firecracker this is found out by a connection, which is closed again at once.
    async fn is_agent_there(&self) -> Result<bool, VmmError> {
        match self.identity.monitor {
            MonitorKind::Firecracker => Ok(self.connect_agent().await.is_ok()),
            MonitorKind::Qemu => {
                let silent = |why| VmmError::Monitor { seat: self.seat().to_owned(), why };
                self.qmp().await?.is_open(super::qemu::AGENT).await.map_err(silent)
            }
        }
    }

    /// Stops the processors; the memory stays.
    ///
    /// # Errors
    /// When the monitor does not answer or refuses.
    pub async fn pause(&self) -> Result<(), VmmError> {
        self.control.pause(self.seat()).await
    }

    /// Lets the processors run.
    ///
    /// # Errors
    /// When the monitor does not answer or refuses.
    pub async fn resume(&self) -> Result<(), VmmError> {
        self.control.resume(self.seat()).await
    }

    /// Lets a machine go on whose processors QEMU stopped because the host had no room for what a disk was to hold (`werror=enospc`,
    /// the default of its block devices). It tries again what failed, and stops the machine once more when that still fails, so
    /// nothing that the guest wrote is lost. Whether it stood. Firecracker stops no machine for that: its guest sees an error of the drive.
    ///
    /// # Errors
    /// When the monitor does not answer or refuses.
    pub async fn unstick(&self) -> Result<bool, VmmError> {
        self.control.unstick(self.seat()).await
    }

    /// Presses the power button, or what a machine has instead, which a guest without a program for it does not notice. An orderly end is the agent's.
    ///
    /// # Errors
    /// When the monitor does not answer or refuses.
    pub async fn press_power(&self) -> Result<(), VmmError> {
        self.control.press_power(self.seat()).await
    }

    /// Sets how fast a drive may be used, from now on.
    ///
    /// # Errors
    /// When there is no such drive, or the monitor does not answer.
    pub async fn set_throttle(&self, serial: &super::Serial, throttle: Throttle) -> Result<(), VmmError> {
        self.control.set_throttle(self.seat(), serial, throttle).await
    }

    /// The connection to QEMU's control socket, for what is not here.
    ///
    /// # Errors
    /// When the monitor does not answer, or is no QEMU.
    pub async fn qmp(&self) -> Result<Arc<super::qemu::Qmp>, VmmError> {
        self.control.qmp(self.seat()).await
    }

    /// What its monitor counted since this process watches it, and what its guest tells of its memory; nothing of QEMU.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measurement> {
        self.reading.as_ref().map_or_else(Vec::new, firecracker::Reading::measurements)
    }

    fn seat(&self) -> &str {
        &self.identity.seat
    }
}

fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "the safe function of that name is deprecated, for descriptors that may change or be closed"
    )]
    // SAFETY: an `OwnedFd` is open as long as it is there, and always has the same number.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}
