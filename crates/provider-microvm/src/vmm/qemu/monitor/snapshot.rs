//! Saves VMs of QEMU, and starts others from what was saved.
//!
//! ```text
//!   start_to_save   memory in a file that the service holds        (memory-backend-file, share=on)
//!   save            stop ─► state to a file (QMP) ─► the VM ends ─► files of the snapshot
//!   restore         memory of the snapshot's file, mapped privately (share=off), -incoming defer
//!                   ─► state from the file (QMP) ─► throttles ─► cont
//! ```

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Acceleration, CommandLine, Memory, Qemu, file_identity, ready};
use crate::random;
use crate::vmm::snapshot::{self, DriveTraits, Snapshot, SnapshotError, Traits};
use crate::vmm::{MonitorKind, Vm, VmSpec, VmmError};

/// A VM that can be saved. It goes on when this is dropped.
#[derive(Debug)]
pub struct Savable {
    vm: Vm,
    memory: snapshot::Memory,
    traits: Traits,
}

impl Savable {
    /// The VM.
    #[must_use]
    pub fn vm(&self) -> &Vm {
        &self.vm
    }
}

impl Qemu {
    /// Starts a VM that can be saved later, as [`crate::vmm::Monitor::start`] starts others. Its memory can be read by root as long as it is there. `image` is
    /// what has to be equal, in words, beside what the specification says.
    ///
    /// # Errors
    /// As [`crate::vmm::Monitor::start`]. A start with KVM that fails is not tried without.
    pub async fn start_to_save(&self, spec: &VmSpec, image: &str) -> Result<Savable, VmmError> {
        spec.check().map_err(|why| VmmError::Spec { seat: spec.seat.clone(), why })?;
        let (with, groups) = self.acceleration(spec).await?;
        let traits = self.traits_with(spec, with, image).await?;
        let memory = snapshot::Memory::empty(spec.memory_mib);
        let memory = memory.map_err(VmmError::io(&spec.seat, "making a file of the guest's memory"))?;
        let line = CommandLine::of(spec, with, &Memory::In(memory.path()));
        let vm = self.start_line(spec, line, groups, |control| ready(control, spec)).await?;
        Ok(Savable { vm, memory, traits })
    }

    /// Stops a VM, writes it to a folder, replacing what is there, and ends it. The folder that it is in has to be there.
    ///
    /// # Errors
    /// When there is no new snapshot; the VM may have to be ended by [`crate::vmm::Monitor::clear`] then.
    pub async fn save(&self, savable: Savable, folder: &Path) -> Result<(), VmmError> {
        let Savable { vm, memory, traits } = savable;
        let seat = vm.identity().seat.clone();
        let refused = |why| VmmError::Snapshot { seat: seat.clone(), why };
        vm.pause().await?;
        let at = folder.to_owned();
        let unfinished = blocking(folder, move || snapshot::write(&at)).await.map_err(refused)?;
        let state =
            unfinished.state().try_clone().map_err(VmmError::io(&seat, "opening the snapshot's state"))?;
        let written = vm.qmp().await?.write_state(state).await;
        written.map_err(|why| VmmError::Monitor { seat: seat.clone(), why })?;
        // Nobody writes to its memory any more.
        vm.kill().await?;
        blocking(folder, move || unfinished.finish(&memory, traits)).await.map_err(refused)
    }

    /// Starts a VM from a snapshot, and returns when its processors run on from where the saved one was stopped. It has the disks, sockets and interfaces of
    /// its specification; that an interface has another hardware address than the saved one's, the guest has to be told.
    ///
    /// # Errors
    /// As [`crate::vmm::Monitor::start`]; [`VmmError::Snapshot`] when the snapshot was made of something else than what is here, and nothing was started.
    pub async fn restore(&self, spec: &VmSpec, image: &str, from: &Snapshot) -> Result<Vm, VmmError> {
        let refused = |why| VmmError::Snapshot { seat: spec.seat.clone(), why };
        spec.check().map_err(|why| VmmError::Spec { seat: spec.seat.clone(), why })?;
        let (with, groups) = self.acceleration(spec).await?;
        from.fits(&self.traits_with(spec, with, image).await?).map_err(refused)?;
        let state = from.state();
        let state = state.map_err(VmmError::io(&spec.seat, "opening the snapshot's state"))?;
        let line = CommandLine::of(spec, with, &Memory::Of(from.memory().path()));
        let run_on = |control: Arc<super::super::Control>| async move {
            let monitor = |why| VmmError::Monitor { seat: spec.seat.clone(), why };
            let qmp = control.qmp().await.map_err(monitor)?;
            qmp.read_state(state).await.map_err(monitor)?;
            ready(control, spec).await
        };
        self.start_line(spec, line, groups, run_on).await
    }

    /// What a snapshot of this VM depends on.
    ///
    /// # Errors
    /// When there is no monitor, or a file that the specification names cannot be read.
    pub async fn traits(&self, spec: &VmSpec, image: &str) -> Result<Traits, VmmError> {
        let (with, _) = self.acceleration(spec).await?;
        self.traits_with(spec, with, image).await
    }

    async fn traits_with(&self, spec: &VmSpec, with: Acceleration, image: &str) -> Result<Traits, VmmError> {
        let (program, version) = self.check().await?;
        let looked = |path: &Path| VmmError::io(&spec.seat, format!("looking at {}", path.display()));
        let drive = |drive: &crate::vmm::Drive| {
            let about = fs::metadata(&drive.path).map_err(looked(&drive.path))?;
            let (serial, read_only) = (drive.serial.as_str().to_owned(), drive.read_only);
            Ok(DriveTraits { serial, read_only, bytes: about.len() })
        };
        let processor = match with {
            Acceleration::Tcg { .. } => "QEMU's own".to_owned(),
            Acceleration::Kvm => {
                let about = Path::new("/proc/cpuinfo");
                let text = fs::read_to_string(about).map_err(looked(about))?;
                this_processor(&text, &rustix::system::uname().release().to_string_lossy())
            }
        };
        Ok(Traits {
            monitor: MonitorKind::Qemu,
            version: version.to_string(),
            program: self.digest(&program).await.map_err(looked(&program))?,
            processor,
            kernel: self.digest(&spec.kernel).await.map_err(looked(&spec.kernel))?,
            initramfs: self.digest(&spec.initramfs).await.map_err(looked(&spec.initramfs))?,
            image: image.to_owned(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            drives: spec.drives.iter().map(drive).collect::<Result<_, VmmError>>()?,
            machine: CommandLine::machine_of(spec, with),
        })
    }

    /// The digest of a file, which is read again only when it is another.
    async fn digest(&self, path: &Path) -> io::Result<String> {
        let now = file_identity(path).ok_or(io::ErrorKind::NotFound)?;
        let mut known = self.digests.lock().await;
        if let Some(digest) = known.get(&now) {
            return Ok(digest.clone());
        }
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let (_, digest) = snapshot::digest(&fs::File::open(path)?)?;
            Ok::<_, io::Error>(digest)
        });
        let digest = read.await.map_err(io::Error::other)??;
        known.retain(|file, _| file.0 != now.0);
        known.insert(now, digest.clone());
        Ok(digest)
    }
}

/// The processor that guests see with KVM, and the kernel whose KVM keeps its state.
fn this_processor(cpuinfo: &str, release: &str) -> String {
    let value = |wanted: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == wanted).map_or("?", |(_, value)| value.trim())
    };
    let flags = random::digits(&Sha256::digest(value("flags"))[..4]);
    format!(
        "KVM of Linux {release} on {} (family {}, model {}, stepping {}, flags {flags})",
        value("model name"),
        value("cpu family"),
        value("model"),
        value("stepping"),
    )
}

/// Work on a snapshot's files, away from the threads that others wait for.
async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| SnapshotError::io(folder, "working on it")(io::Error::other(why)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processor_or_kernel_is_another() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n\
                    model name\t: AMD EPYC 7B13\nstepping\t: 0\nflags\t\t: fpu svm\n";
        let one = this_processor(text, "6.1.0");
        assert!(
            one.starts_with("KVM of Linux 6.1.0 on AMD EPYC 7B13 (family 25, model 1, stepping 0, flags "),
            "{one}"
        );
        assert_ne!(one, this_processor(text, "6.1.1"));
        assert_ne!(one, this_processor(&text.replace("svm", "svm npt"), "6.1.0"));
        assert_ne!(one, this_processor(&text.replace("stepping\t: 0", "stepping\t: 1"), "6.1.0"));
    }
}
