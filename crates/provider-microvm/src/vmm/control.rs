//! The way to the monitor of one VM, whichever it is.

use std::sync::Arc;
use std::time::Duration;

use super::firecracker::{self, Api};
use super::qemu::{self, Qmp};
use super::{Identity, MonitorKind, RunFolder, Serial, Throttle, VmmError};

/// The way to a monitor.
#[derive(Debug)]
pub(super) enum Control {
    /// QEMU's control socket.
    Qemu(Arc<qemu::Control>),
    /// Firecracker's API.
    Firecracker(Arc<Api>),
}

/// The way to one kind of monitor.
pub(super) trait Way: Sized {
    /// The one to a VM's monitor in a folder. Nothing is looked at yet.
    fn to(identity: &Identity, folder: &RunFolder) -> Self;

    /// As one of all.
    fn any(this: Arc<Self>) -> Control;

    /// Why a VM is not ready when the time of its start is over, where the monitor's side tells more than that.
    fn late(&self, _: Duration) -> Option<VmmError> {
        None
    }
}

impl Way for qemu::Control {
    fn to(_: &Identity, folder: &RunFolder) -> Self {
        Self::new(folder.clone())
    }

    fn any(this: Arc<Self>) -> Control {
        Control::Qemu(this)
    }
}

impl Way for Api {
    fn to(identity: &Identity, folder: &RunFolder) -> Self {
        firecracker::api(&identity.seat, &identity.sockets(folder)).of(identity.vmm.pid)
    }

    fn any(this: Arc<Self>) -> Control {
        Control::Firecracker(this)
    }

    fn late(&self, limit: Duration) -> Option<VmmError> {
        self.unanswered(limit).map(Into::into)
    }
}

impl Control {
    /// The way to a VM's monitor in a folder.
    pub(super) fn to(identity: &Identity, folder: &RunFolder) -> Self {
        match identity.monitor {
            MonitorKind::Qemu => Self::Qemu(Arc::new(Way::to(identity, folder))),
            MonitorKind::Firecracker => Self::Firecracker(Arc::new(Way::to(identity, folder))),
        }
    }

    /// Begins to read what the monitor counts, where it does.
    pub(super) fn reading(&self, seat: &str) -> Option<firecracker::Reading> {
        let Self::Firecracker(api) = self else { return None };
        let reading = firecracker::Reading::start(Arc::clone(api));
        // No reason to do without the VM.
        reading
            .inspect_err(|why| tracing::warn!(seat, %why, "the metrics of its Firecracker cannot be read"))
            .ok()
    }

    pub(super) async fn pause(&self, seat: &str) -> Result<(), VmmError> {
        match self {
            Self::Qemu(_) => self.qmp(seat).await?.stop().await.map_err(monitor(seat)),
            Self::Firecracker(api) => Ok(firecracker::pause(api).await?),
        }
    }

    pub(super) async fn resume(&self, seat: &str) -> Result<(), VmmError> {
        match self {
            Self::Qemu(_) => self.qmp(seat).await?.cont().await.map_err(monitor(seat)),
            Self::Firecracker(api) => Ok(firecracker::resume(api).await?),
        }
    }

    /// As [`super::Vm::unstick`]. Firecracker does not stop a machine for a full disk: its guest sees an error of the drive.
    pub(super) async fn unstick(&self, seat: &str) -> Result<bool, VmmError> {
        let Self::Qemu(_) = self else { return Ok(false) };
        let qmp = self.qmp(seat).await?;
        let unstick = async {
            let is_stuck = qmp.query_status().await? == qemu::RunState::IoError;
            if is_stuck {
                qmp.cont().await?;
            }
            Ok(is_stuck)
        };
        unstick.await.map_err(monitor(seat))
    }

    pub(super) async fn press_power(&self, seat: &str) -> Result<(), VmmError> {
        match self {
            Self::Qemu(_) => self.qmp(seat).await?.system_powerdown().await.map_err(monitor(seat)),
            Self::Firecracker(api) => Ok(firecracker::press_power(api).await?),
        }
    }

    pub(super) async fn set_throttle(
        &self,
        seat: &str,
        serial: &Serial,
        throttle: Throttle,
    ) -> Result<(), VmmError> {
        match self {
            Self::Qemu(_) => {
                let device = qemu::drive_id(serial.as_str());
                self.qmp(seat).await?.set_throttle(&device, throttle).await.map_err(monitor(seat))
            }
            Self::Firecracker(api) => firecracker::set_throttle(api, seat, serial, throttle).await,
        }
    }

    pub(super) async fn qmp(&self, seat: &str) -> Result<Arc<Qmp>, VmmError> {
        match self {
            Self::Qemu(control) => control.qmp().await.map_err(monitor(seat)),
            Self::Firecracker(_) => Err(VmmError::NoQmp { seat: seat.to_owned() }),
        }
    }
}

fn monitor(seat: &str) -> impl FnOnce(qemu::QmpError) -> VmmError {
    let seat = seat.to_owned();
    move |why| VmmError::Monitor { seat, why }
}
