//! What a snapshot depends on, as it is here.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::digest::digest;
use super::{DriveTraits, Traits};
use crate::random;
use crate::vmm::program::{FileIdentity, content_identity};
use crate::vmm::{Drive, MonitorKind, VmSpec, VmmError};

/// The digests of files, as they were when they were read.
#[derive(Debug, Default)]
pub(in crate::vmm) struct Digests(Mutex<HashMap<FileIdentity, String>>);

/// What a monitor says of itself.
pub(in crate::vmm) struct Here<'a> {
    pub(in crate::vmm) monitor: MonitorKind,
    pub(in crate::vmm) version: String,
    pub(in crate::vmm) program: &'a Path,
    /// As [`Traits::processor`].
    pub(in crate::vmm) processor: String,
    /// As [`Traits::machine`].
    pub(in crate::vmm) machine: Vec<String>,
}

impl Digests {
    /// What a snapshot of a VM depends on here.
    pub(in crate::vmm) async fn traits(
        &self,
        spec: &VmSpec,
        image: &str,
        here: Here<'_>,
    ) -> Result<Traits, VmmError> {
        let looked = |path: &Path| VmmError::io(&spec.seat, format!("looking at {}", path.display()));
        let drive = |drive: &Drive| {
            let about = fs::metadata(&drive.path).map_err(looked(&drive.path))?;
            let (serial, read_only) = (drive.serial.as_str().to_owned(), drive.read_only);
            Ok(DriveTraits { serial, read_only, bytes: about.len() })
        };
        let Here { monitor, version, program, processor, machine } = here;
        Ok(Traits {
            monitor,
            version,
            program: self.of(program).await.map_err(looked(program))?,
            processor,
            kernel: self.of(&spec.kernel).await.map_err(looked(&spec.kernel))?,
            initramfs: self.of(&spec.initramfs).await.map_err(looked(&spec.initramfs))?,
            image: image.to_owned(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            drives: spec.drives.iter().map(drive).collect::<Result<_, VmmError>>()?,
            machine,
        })
    }

    /// The digest of a file, which is read again only when it is another.
    async fn of(&self, path: &Path) -> io::Result<String> {
        let mut known = self.0.lock().await;
        let now = content_identity(path)?;
        if let Some(digest) = known.get(&now) {
            return Ok(digest.clone());
        }
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let (_, digest) = digest(&fs::File::open(path)?)?;
            Ok::<_, io::Error>(digest)
        });
        let digest = read.await.map_err(io::Error::other)??;
        known.retain(|file, _| file.0 != now.0);
        known.insert(now, digest.clone());
        Ok(digest)
    }
}

/// The processor that guests see with KVM on this host, and the kernel whose KVM keeps its state.
pub(in crate::vmm) fn this_processor(seat: &str) -> Result<String, VmmError> {
    let about = Path::new("/proc/cpuinfo");
    let text = fs::read_to_string(about);
    let text = text.map_err(VmmError::io(seat, format!("looking at {}", about.display())))?;
    let kernel = rustix::system::uname();
    Ok(processor(&text, &kernel.release().to_string_lossy(), &kernel.version().to_string_lossy()))
}

/// An update of the kernel may keep its release, which is the name of what modules it takes, and then has another version (uname(2)); microcode may take an
/// instruction away.
fn processor(cpuinfo: &str, release: &str, version: &str) -> String {
    let value = |wanted: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == wanted).map_or("?", |(_, value)| value.trim())
    };
    let flags = random::digits(&Sha256::digest(value("flags"))[..4]);
    format!(
        "KVM of Linux {release} ({version}) on {} (family {}, model {}, stepping {}, microcode {}, flags {flags})",
        value("model name"),
        value("cpu family"),
        value("model"),
        value("stepping"),
        value("microcode"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_again_when_what_is_in_it_is_another_and_not_when_a_jail_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (kernel, jails) = (folder.path().join("kernel"), folder.path().join("jails"));
        fs::write(&kernel, "one").unwrap();
        let written = fs::metadata(&kernel).unwrap().modified().unwrap();
        let digests = Digests::default();
        let one = digests.of(&kernel).await.unwrap();
        // Whoever reads it finds something else.
        fs::write(&kernel, "two").unwrap();
        fs::File::options().write(true).open(&kernel).unwrap().set_modified(written).unwrap();
        fs::hard_link(&kernel, &jails).unwrap();
        assert_eq!(digests.of(&kernel).await.unwrap(), one);
        fs::remove_file(&jails).unwrap();
        assert_eq!(digests.of(&kernel).await.unwrap(), one);
        fs::write(&kernel, "2").unwrap();
        assert_ne!(digests.of(&kernel).await.unwrap(), one);
        fs::remove_file(&kernel).unwrap();
        assert_eq!(digests.of(&kernel).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn another_processor_or_kernel_is_another() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n\
                    model name\t: AMD EPYC 7B13\nstepping\t: 0\nmicrocode\t: 0xa0011d1\nflags\t\t: fpu svm\n";
        let (release, version) = ("6.1.0-53-cloud-amd64", "#1 SMP Debian 6.1.187-1");
        let one = processor(text, release, version);
        let wanted = "KVM of Linux 6.1.0-53-cloud-amd64 (#1 SMP Debian 6.1.187-1) on AMD EPYC 7B13 \
                      (family 25, model 1, stepping 0, microcode 0xa0011d1, flags ";
        assert!(one.starts_with(wanted), "{one}");
        assert_ne!(one, processor(text, "6.1.0-54-cloud-amd64", version));
        assert_ne!(one, processor(text, release, "#1 SMP Debian 6.1.188-1"), "an update of the same name");
        for (had, has) in [
            ("svm", "svm npt"),
            ("stepping\t: 0", "stepping\t: 1"),
            ("0xa0011d1", "0xa0011d5"),
            ("microcode\t: 0xa0011d1\n", ""),
        ] {
            assert_ne!(one, processor(&text.replace(had, has), release, version), "{has}");
        }
    }
}
