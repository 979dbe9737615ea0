//! What a VM's keeper is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Firecracker, Jailer, id, inside};
use crate::vmm::firecracker::{Api, Version, binary};
use crate::vmm::jail::JailFile;
use crate::vmm::keeper::{Argument, GENERATION, Launch};
use crate::vmm::{
    Accelerator, BinaryTrouble, MonitorKind, SpecError, Vm, VmSpec, VmmError, accelerator, folder, jail, vm,
};

/// What a jail has beside what the specification says.
#[derive(Default)]
pub(super) struct More {
    pub(super) files: Vec<JailFile>,
    /// As [`jail::JailSpec::largest_file`], when it is more.
    pub(super) largest_file: u64,
}

impl Firecracker {
    /// Looks whether VMs can be jailed here: for the jailer, whether it is of Firecracker's release, whether that can run in a jail, and whether this process
    /// may do what it takes. The path of the jailer; nothing when it is not wanted.
    ///
    /// # Errors
    /// [`VmmError::Binary`] with what is wrong with a program and what to do, [`VmmError::Powerless`] with what this process may not.
    pub async fn check_jailer(&self) -> Result<Option<PathBuf>, VmmError> {
        let (firecracker, version) = self.check().await?;
        Ok(self.jail_with(&firecracker, version).await?.map(|(jailer, _)| jailer))
    }

    /// The jailer, and Firecracker's program as it takes it.
    async fn jail_with(
        &self,
        firecracker: &Path,
        version: Version,
    ) -> Result<Option<(PathBuf, PathBuf)>, VmmError> {
        let Jailer::Program(named) = &self.options.jailer else { return Ok(None) };
        jail::powers()?;
        let firecracker = jail::jailable(firecracker)?;
        let path = jail::find(named)?;
        let found = self.jailer.or(&path, jail::check(&path)).await?;
        if found != version {
            let trouble = BinaryTrouble::OtherRelease { found, firecracker: version };
            return Err(VmmError::Binary { program: path, trouble });
        }
        Ok(Some((path, firecracker)))
    }

    /// Starts a VM, and lets it live when it is ready: what makes it so is told how the monitor sees it.
    pub(super) async fn run<F>(
        &self,
        spec: &VmSpec,
        more: More,
        ready: impl FnOnce(Arc<Api>, VmSpec) -> F,
    ) -> Result<Vm, VmmError>
    where
        F: Future<Output = Result<(), VmmError>>,
    {
        let refused = |why| VmmError::Spec { seat: spec.seat.clone(), why };
        spec.check().map_err(refused)?;
        if spec.accelerator == Accelerator::Tcg {
            let why =
                "Firecracker runs guests with KVM alone: set the accelerator to auto or kvm, or take QEMU";
            return Err(refused(SpecError::Bound(why.into())));
        }
        let most = MonitorKind::Firecracker.most_vcpus();
        if spec.vcpus > most {
            return Err(refused(SpecError::Bound(format!(
                "Firecracker has at most {most} virtual processors"
            ))));
        }
        let (launch, seen) = self.prepared(spec, more).await?;
        let ready = |api: Arc<Api>| ready(Arc::new(api.within(self.options.limits)), seen);
        vm::start(&self.keepers, self.options.start_timeout, spec, launch, ready).await
    }

    /// What the keeper is told, and the VM as its monitor sees it.
    async fn prepared(&self, spec: &VmSpec, more: More) -> Result<(Launch, VmSpec), VmmError> {
        let (program, version) = self.check().await?;
        let refused = |why| VmmError::Spec { seat: spec.seat.clone(), why };
        let loadable = binary::check_kernel(version, &spec.kernel);
        let loadable =
            loadable.map_err(VmmError::io(&spec.seat, format!("reading {}", spec.kernel.display())))?;
        loadable.map_err(|why| refused(SpecError::Bound(why)))?;
        // Its log goes where the guest's console does, and into the middle of its words.
        let words = ["--api-sock", folder::API, "--level", "Error"];
        let mut launch = Launch {
            generation: GENERATION,
            seat: spec.seat.clone(),
            monitor: MonitorKind::Firecracker,
            folder: spec.folder.path().to_owned(),
            program,
            arguments: Vec::new(),
            descriptors: Vec::new(),
            // As root it would make a TAP device that is not there.
            taps: spec.nics.iter().map(|nic| nic.tap.as_str().to_owned()).collect(),
            has_folder: false,
            jail: None,
            network_namespace: spec.network_namespace.clone(),
            user: spec.user,
            groups: Vec::new(),
            cgroup: spec.cgroup.clone(),
            console: spec.console.clone(),
        };
        let plain = |words: &[&str]| words.iter().map(|&word| Argument::Plain(word.to_owned())).collect();
        let Some((jailer, firecracker)) = self.jail_with(&launch.program, version).await? else {
            launch.arguments = plain(&[&words[..], &["--id", &id(&spec.seat)]].concat());
            launch.groups = accelerator::groups(spec.user).map_err(VmmError::NoKvm)?;
            launch.has_folder = true;
            return Ok((launch, spec.clone()));
        };
        let mut jail = inside::jail(spec, firecracker)?;
        jail.files.extend(more.files);
        jail.largest_file = jail.largest_file.max(more.largest_file);
        let arguments = jail.arguments(&words).map_err(refused)?;
        launch.arguments = arguments.into_iter().map(Argument::Plain).collect();
        launch.program = jailer;
        launch.jail = Some(jail);
        Ok((launch, inside::seen(spec)))
    }
}
