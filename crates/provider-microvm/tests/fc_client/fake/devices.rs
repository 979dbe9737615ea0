//! What a machine is made of, and what is changed of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::json;

use super::process::{Done, Process};
use super::{bodies, vsock};

impl Process {
    pub(super) fn set_machine(&mut self, machine: bodies::Machine) -> Done {
        self.boots = true;
        let vcpus = machine.vcpu_count;
        if !(1..=32).contains(&vcpus) || machine.smt && vcpus > 1 && vcpus % 2 == 1 {
            let why = "The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is enabled.";
            return Err(format!("Machine config error: {why}"));
        }
        let whole = machine.huge_pages == bodies::HugePages::None || machine.mem_size_mib.is_multiple_of(2);
        if machine.mem_size_mib == 0 || !whole {
            let why = "The memory size (MiB) is either 0, or not a multiple of the configured page size.";
            return Err(format!("Machine config error: {why}"));
        }
        self.machine = machine;
        Ok(None)
    }

    pub(super) fn set_boot(&mut self, boot: bodies::Boot) -> Done {
        self.boots = true;
        File::open(&boot.kernel_image_path)
            .map_err(|why| format!("Boot source error: The kernel file cannot be opened: {why}"))?;
        if let Some(initrd) = &boot.initrd_path {
            let what = "The initrd file cannot be opened due to invalid path or invalid permissions.";
            File::open(initrd).map_err(|why| format!("Boot source error: {what} {why}"))?;
        }
        self.boot = Some(boot);
        Ok(None)
    }

    pub(super) fn set_drive(&mut self, drive: bodies::Drive) -> Done {
        self.boots = true;
        let failed =
            |why: String| format!("Drive config error: Unable to create the virtio block device: {why}");
        let (Some(path), Some(read_only)) = (drive.path_on_host, drive.is_read_only) else {
            return Err(failed("Invalid block config.".into()));
        };
        opened(&path, read_only).map_err(|why| failed(format!("Virtio backend error: {why}")))?;
        self.drives.insert(drive.drive_id, path);
        Ok(None)
    }

    pub(super) fn patch_drive(&mut self, patch: bodies::DrivePatch) -> Done {
        let failed = |why: String| {
            format!(
                "Drive config error: Unable to patch the block device: {why} Please verify the request arguments."
            )
        };
        let Some(image) = self.drives.get_mut(&patch.drive_id) else { return Err(failed(NO_DEVICE.into())) };
        if let Some(path) = patch.path_on_host {
            opened(&path, false).map_err(|why| failed(format!("Block: Virtio backend error: {why}")))?;
            *image = path;
        }
        Ok(None)
    }

    pub(super) fn set_nic(&mut self, nic: bodies::Nic) -> Done {
        self.boots = true;
        let taken = |(name, (_, mac)): (&String, &(String, Option<String>))| {
            *name != nic.iface_id && *mac == nic.guest_mac
        };
        if let Some(mac) = nic.guest_mac.as_ref().filter(|_| self.nics.iter().any(taken)) {
            return Err(format!("Network config error: The MAC address is already in use: {mac}"));
        }
        // One that was told before lets go of its device first, also when this one cannot have its own.
        self.nics.remove(&nic.iface_id);
        self.tap(&nic.host_dev_name).map_err(|why| format!("Network config error: {why}"))?;
        self.nics.insert(nic.iface_id, (nic.host_dev_name, nic.guest_mac));
        Ok(None)
    }

    /// Opens a TAP device.
    pub(super) fn tap(&mut self, name: &str) -> Result<(), String> {
        use rustix::io::Errno;
        let failed = |why: Errno| {
            let why = io::Error::from_raw_os_error(why.raw_os_error());
            Err(format!(
                "Could not create the network device: Open tap device failed: Error while creating ifreq structure: {why}. \
                 Invalid TUN/TAP Backend provided by {name}. Check our documentation on setting up the network devices."
            ))
        };
        if self.nics.values().any(|(tap, _)| tap == name) {
            return failed(Errno::BUSY);
        }
        if self.options.taps.iter().any(|tap| tap == name) {
            return Ok(());
        }
        if self.options.makes_taps {
            self.made.push(name.to_owned());
            return Ok(());
        }
        failed(Errno::PERM)
    }

    pub(super) fn set_vsock(&mut self, vsock: &bodies::Vsock) -> Done {
        self.boots = true;
        self.bind(&vsock.uds_path).map_err(|why| {
            format!("Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: {why}")
        })?;
        Ok(None)
    }

    pub(super) fn bind(&mut self, path: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        if let Some(port) = self.options.echoes_on {
            vsock::echo(listener.try_clone()?, port);
        }
        self.vsock = Some((path.to_owned(), listener));
        Ok(())
    }

    pub(super) fn set_balloon(&mut self, balloon: bodies::Balloon) -> Done {
        self.boots = true;
        if u64::from(balloon.amount_mib) > self.machine.mem_size_mib {
            return Err("Balloon config error: Amount of pages requested is too large.".into());
        }
        self.balloon = Some(balloon);
        Ok(None)
    }

    pub(super) fn inflate(&mut self, bodies::Amount { amount_mib }: bodies::Amount) -> Done {
        let failed = |why: &str| Err(format!("Balloon update error: {why}"));
        let Some(balloon) = &mut self.balloon else { return failed(NO_DEVICE) };
        if !self.options.has_drivers {
            return failed("Balloon: Device not activated yet.");
        }
        if u64::from(amount_mib) > self.machine.mem_size_mib {
            return failed(&format!("Balloon: Requested memory should be less than {amount_mib}MiB"));
        }
        balloon.amount_mib = amount_mib;
        Ok(None)
    }

    pub(super) fn set_interval(
        &mut self,
        bodies::Interval { stats_polling_interval_s: seconds }: bodies::Interval,
    ) -> Done {
        let failed = |why: &str| Err(format!("Balloon update error: {why}"));
        let Some(balloon) = &mut self.balloon else { return failed(NO_DEVICE) };
        if (balloon.stats_polling_interval_s == 0) != (seconds == 0) {
            return failed("Balloon: Statistics cannot be enabled/disabled after activation.");
        }
        balloon.stats_polling_interval_s = seconds;
        Ok(None)
    }

    pub(super) fn statistics(&mut self) -> Done {
        self.after((), |this, ()| {
            let failed = |why: &str| Err(format!("Internal VMM error: {why}"));
            let Some(balloon) = &this.balloon else { return failed(NO_DEVICE) };
            if balloon.stats_polling_interval_s == 0 {
                return failed("Balloon: Received stats query when stats are disabled.");
            }
            let mib = balloon.amount_mib;
            let pages = u64::from(mib) * 256;
            let mut told =
                json!({"target_pages": pages, "actual_pages": pages, "target_mib": mib, "actual_mib": mib});
            if this.options.has_drivers {
                told["total_memory"] = json!(this.machine.mem_size_mib << 20);
                told["free_memory"] = json!(this.machine.mem_size_mib << 19);
            }
            Ok(Some(told))
        })
    }

    pub(super) fn set_metrics(&mut self, metrics: &bodies::Metrics) -> Done {
        let failed = |why: String| {
            format!("Metrics error: Cannot initialize the metrics system due to bad user input: {why}")
        };
        let file = written(&metrics.metrics_path).map_err(|why| failed(why.to_string()))?;
        if self.metrics.replace(file).is_some() {
            return Err(failed("Reinitialization of metrics not allowed.".into()));
        }
        Ok(None)
    }

    /// Writes a line of metrics, as long as those of the real one. A full pipe is not waited for.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.metrics else { return Ok(()) };
        let rest = "x".repeat(7000);
        let line = format!(
            "{{\"utc_timestamp_ms\":1780000000000,\"block\":{{\"read_bytes\":4096}},\"rest\":\"{rest}\"}}\n"
        );
        file.write_all(line.as_bytes())
    }
}

pub(super) const NO_DEVICE: &str = "Failed perform action on device: Device not found";

/// Opens a drive's image.
pub(super) fn opened(path: &Path, read_only: bool) -> Result<(), String> {
    let file = OpenOptions::new().read(true).write(!read_only).open(path);
    file.map(drop).map_err(|why| format!("Error manipulating the backing file: {why} {}", path.display()))
}

/// Opens a file that is written to, and makes it when it is not there.
pub(super) fn written(path: &Path) -> io::Result<File> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().create(true).truncate(false).read(true).write(true).custom_flags(nonblock).open(path)
}
