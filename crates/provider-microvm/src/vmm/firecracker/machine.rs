//! A machine, with its state in its type.

use std::marker::PhantomData;

use super::settings::{Action, Amount, Interval, Load, State};
use super::{
    Api, Balloon, BalloonStats, BootSource, DeviceId, Drive, DrivePatch, Entropy, FirecrackerError,
    InstanceState, Logger, MachineConfig, Metrics, NetworkInterface, NetworkPatch, Serial, SnapshotFiles,
    SnapshotLoad, Trouble, Version, Vsock,
};

/// A process that was just started, and knows of no machine.
#[derive(Debug)]
pub enum Unconfigured {}
/// It knows processors, memory and a kernel, and can be given devices.
#[derive(Debug)]
pub enum Configured {}
/// The processors run.
#[derive(Debug)]
pub enum Running {}
/// The processors stand.
#[derive(Debug)]
pub enum Paused {}

/// There is no machine yet.
pub trait Unstarted: sealed::State {}
impl Unstarted for Unconfigured {}
impl Unstarted for Configured {}

/// There is a machine.
pub trait Started: sealed::State {}
impl Started for Running {}
impl Started for Paused {}

mod sealed {
    use super::{Configured, Paused, Running, Unconfigured};

    /// No other states can be made up.
    pub trait State {}
    impl State for Unconfigured {}
    impl State for Configured {}
    impl State for Running {}
    impl State for Paused {}
}

/// The machine of one process. It goes on when this is dropped.
#[derive(Debug)]
pub struct Machine<S> {
    api: Api,
    version: Version,
    state: PhantomData<S>,
}

/// A machine that was found, as it is.
#[derive(Debug)]
pub enum Attached {
    /// Its processors run.
    Running(Machine<Running>),
    /// They stand.
    Paused(Machine<Paused>),
}

impl Attached {
    /// Finds the machine of a process that may have been started by another program.
    ///
    /// # Errors
    /// When the process does not answer, is too old, or has started no machine.
    pub async fn attach(api: Api) -> Result<Self, FirecrackerError> {
        let version = api.version().await?;
        match api.state().await? {
            InstanceState::Running => Ok(Self::Running(Machine::new(api, version))),
            InstanceState::Paused => Ok(Self::Paused(Machine::new(api, version))),
            found @ InstanceState::NotStarted => {
                Err(api.error("GET /", Trouble::State { found, wanted: "a machine that was started" }))
            }
        }
    }
}

impl<S> Machine<S> {
    fn new(api: Api, version: Version) -> Self {
        Self { api, version, state: PhantomData }
    }

    /// Which Firecracker it is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    fn then<T>(self) -> Machine<T> {
        Machine::new(self.api, self.version)
    }
}

impl Machine<Unconfigured> {
    /// The machine of a process that was just started: waits for its socket, and looks whether it is one.
    ///
    /// # Errors
    /// When the process does not answer in time, is too old, or has a machine already.
    pub async fn fresh(api: Api) -> Result<Self, FirecrackerError> {
        api.opened().await?;
        let version = api.version().await?;
        match api.state().await? {
            InstanceState::NotStarted => Ok(Self::new(api, version)),
            found => Err(api.error("GET /", Trouble::State { found, wanted: "a fresh process" })),
        }
    }

    /// Says what it is to be. From here on no snapshot can be loaded.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn configure(
        self,
        machine: &MachineConfig,
        boot: &BootSource,
    ) -> Result<Machine<Configured>, FirecrackerError> {
        self.api.put("/machine-config", machine).await?;
        self.api.put("/boot-source", boot).await?;
        Ok(self.then())
    }

    /// Makes it what a snapshot has; the processors stand.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer. It ends itself then.
    pub async fn load(self, how: &SnapshotLoad) -> Result<Machine<Paused>, FirecrackerError> {
        self.loaded(how, false).await?;
        Ok(self.then())
    }

    /// The same, and lets the processors run.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer. It ends itself then.
    pub async fn load_and_resume(self, how: &SnapshotLoad) -> Result<Machine<Running>, FirecrackerError> {
        self.loaded(how, true).await?;
        Ok(self.then())
    }

    async fn loaded(&self, how: &SnapshotLoad, resume_vm: bool) -> Result<(), FirecrackerError> {
        self.api.put_within("/snapshot/load", &Load { how, resume_vm }, self.api.limits().snapshot).await
    }
}

impl<S: Unstarted> Machine<S> {
    /// Says where Firecracker's own log goes.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_logger(&self, logger: &Logger) -> Result<(), FirecrackerError> {
        self.api.put("/logger", logger).await
    }

    /// Says where its metrics go; once.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_metrics(&self, metrics: &Metrics) -> Result<(), FirecrackerError> {
        self.api.put("/metrics", metrics).await
    }

    /// Says where the guest's serial console goes.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_serial(&self, serial: &Serial) -> Result<(), FirecrackerError> {
        self.api.put("/serial", serial).await
    }
}

impl Machine<Configured> {
    /// Adds a drive.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn add_drive(&self, drive: &Drive) -> Result<(), FirecrackerError> {
        self.api.put(&drive_path(&drive.drive_id), drive).await
    }

    /// Adds a network interface.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn add_network_interface(&self, nic: &NetworkInterface) -> Result<(), FirecrackerError> {
        self.api.put(&network_path(&nic.iface_id), nic).await
    }

    /// Adds the vsock device.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_vsock(&self, vsock: &Vsock) -> Result<(), FirecrackerError> {
        self.api.put("/vsock", vsock).await
    }

    /// Adds a source of random numbers.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_entropy(&self, entropy: &Entropy) -> Result<(), FirecrackerError> {
        self.api.put("/entropy", entropy).await
    }

    /// Adds a balloon.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn set_balloon(&self, balloon: &Balloon) -> Result<(), FirecrackerError> {
        self.api.put("/balloon", balloon).await
    }

    /// Lets the processors run. There is one start a process: when it fails, the process is to be ended.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn start(self) -> Result<Machine<Running>, FirecrackerError> {
        self.api.put_within("/actions", &Action::InstanceStart, self.api.limits().start).await?;
        Ok(self.then())
    }
}

impl<S: Started> Machine<S> {
    /// Changes a drive.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn patch_drive(&self, patch: &DrivePatch) -> Result<(), FirecrackerError> {
        self.api.patch(&drive_path(&patch.drive_id), patch).await
    }

    /// Changes a network interface.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn patch_network_interface(&self, patch: &NetworkPatch) -> Result<(), FirecrackerError> {
        self.api.patch(&network_path(&patch.iface_id), patch).await
    }

    /// Lets the balloon take so many MiB from the guest. When it has them is up to the guest.
    ///
    /// # Errors
    /// When there is no balloon, it would be larger than the guest's memory, or Firecracker does not answer.
    pub async fn set_balloon_amount(&self, amount_mib: u32) -> Result<(), FirecrackerError> {
        self.api.patch("/balloon", &Amount { amount_mib }).await
    }

    /// Sets how many seconds are between two statistics of the balloon.
    ///
    /// # Errors
    /// When there is no balloon, that would switch them on or off, or Firecracker does not answer.
    pub async fn set_balloon_interval(&self, seconds: u16) -> Result<(), FirecrackerError> {
        self.api.patch("/balloon/statistics", &Interval { stats_polling_interval_s: seconds }).await
    }

    /// Asks what the guest last told of its memory.
    ///
    /// # Errors
    /// When there is no balloon, or one without statistics, or Firecracker does not answer.
    pub async fn balloon_stats(&self) -> Result<BalloonStats, FirecrackerError> {
        self.api.get("/balloon/statistics").await
    }

    /// Has the metrics written now.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn flush_metrics(&self) -> Result<(), FirecrackerError> {
        self.api.put("/actions", &Action::FlushMetrics).await
    }
}

impl Machine<Running> {
    /// Stops the processors; the memory stays.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn pause(self) -> Result<Machine<Paused>, FirecrackerError> {
        self.api.patch("/vm", &State::Paused).await?;
        Ok(self.then())
    }

    /// Presses Ctrl, Alt and Del, which a guest without a driver for that keyboard does not notice; another one restarts, which ends the process.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn send_ctrl_alt_del(&self) -> Result<(), FirecrackerError> {
        self.api.put("/actions", &Action::SendCtrlAltDel).await
    }
}

impl Machine<Paused> {
    /// Lets the processors run.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn resume(self) -> Result<Machine<Running>, FirecrackerError> {
        self.api.patch("/vm", &State::Resumed).await?;
        Ok(self.then())
    }

    /// Writes a snapshot. When it fails, what was written so far is there, and is to be removed.
    ///
    /// # Errors
    /// When Firecracker refuses or does not answer.
    pub async fn create_snapshot(&self, files: &SnapshotFiles) -> Result<(), FirecrackerError> {
        self.api.put_within("/snapshot/create", files, self.api.limits().snapshot).await
    }
}

fn drive_path(id: &DeviceId) -> String {
    format!("/drives/{}", id.as_str())
}

fn network_path(id: &DeviceId) -> String {
    format!("/network-interfaces/{}", id.as_str())
}
