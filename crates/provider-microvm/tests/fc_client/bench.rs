//! A folder with what a machine is made of, and a Firecracker in it: the fake, or the real one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::firecracker::{
    Api, BootSource, CacheType, Configured, DeviceId, Drive, HugePages, IoEngine, Limits, Machine,
    MachineConfig, NetworkInterface, Vsock,
};
use provider_microvm::vmm::{InterfaceName, MacAddress};

use crate::fake::{Fake, Options};

/// How long anything may take that is to happen, on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a kernel and two images.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

/// A process that has an API socket.
pub(crate) enum Monitor {
    Fake(Fake),
    Real(Real),
}

/// The real Firecracker; killed when it is dropped.
pub(crate) struct Real {
    child: Child,
    socket: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("firecracker").tempdir()?;
        let bench = Self { folder };
        std::fs::write(bench.path("vmlinux"), kernel())?;
        std::fs::write(bench.path("initramfs"), "nothing")?;
        for image in ["root.img", "data.img"] {
            std::fs::File::create(bench.path(image))?.set_len(1 << 20)?;
        }
        Ok(bench)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn fake(&self, options: Options) -> Result<Fake> {
        Ok(Fake::start(&self.path("api.sock"), options)?)
    }

    /// Starts a monitor with the socket of that name: a fake like the real one with this guest, which has no drivers.
    pub(crate) fn monitor(&self, real: Option<&Path>, name: &str) -> Result<Monitor> {
        let socket = self.path(name);
        let Some(program) = real else {
            let options = Options { has_drivers: false, ..Options::default() };
            return Ok(Monitor::Fake(Fake::start(&socket, options)?));
        };
        self.spawn(Command::new(program), socket)
    }

    /// Starts the real one with a command that ends with its program.
    pub(crate) fn spawn(&self, mut command: Command, socket: PathBuf) -> Result<Monitor> {
        command
            .arg("--api-sock")
            .arg(&socket)
            .args(["--id", "fake", "--level", "Off"])
            .current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Monitor::Real(Real { child, socket }))
    }

    pub(crate) fn api(&self) -> Api {
        self.api_with(Limits::default())
    }

    pub(crate) fn api_with(&self, limits: Limits) -> Api {
        Api::new("demo/1", self.path("api.sock"), limits)
    }

    pub(crate) fn machine() -> MachineConfig {
        MachineConfig {
            vcpu_count: 1,
            mem_size_mib: 64,
            smt: false,
            track_dirty_pages: false,
            huge_pages: HugePages::None,
        }
    }

    pub(crate) fn boot(&self) -> BootSource {
        let boot_args = "console=ttyS0 reboot=k panic=1".to_owned();
        BootSource {
            kernel_image_path: self.path("vmlinux"),
            initrd_path: Some(self.path("initramfs")),
            boot_args,
        }
    }

    pub(crate) fn drive(&self, name: &str, is_read_only: bool) -> Result<Drive> {
        Ok(Drive {
            drive_id: DeviceId::new(name)?,
            path_on_host: self.path(&format!("{name}.img")),
            is_read_only,
            is_root_device: false,
            cache_type: CacheType::Writeback,
            io_engine: IoEngine::Sync,
            rate_limiter: None,
        })
    }

    pub(crate) fn nic(id: &str, tap: &str, last: u8) -> Result<NetworkInterface> {
        Ok(NetworkInterface {
            iface_id: DeviceId::new(id)?,
            host_dev_name: InterfaceName::new(tap)?,
            guest_mac: MacAddress([2, 0xc7, 10, 0, 0, last]),
            mtu: None,
            rx_rate_limiter: None,
            tx_rate_limiter: None,
        })
    }

    pub(crate) fn vsock(&self) -> Vsock {
        Vsock { guest_cid: 3, uds_path: self.path("vsock.sock") }
    }

    /// A machine that knows processors, memory and a kernel.
    pub(crate) async fn configured(&self) -> Result<Machine<Configured>> {
        let fresh = Machine::fresh(self.api()).await?;
        Ok(fresh.configure(&Self::machine(), &self.boot()).await?)
    }
}

impl Monitor {
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Self::Fake(fake) => fake.socket(),
            Self::Real(real) => &real.socket,
        }
    }

    /// The code with which it ends by itself.
    pub(crate) async fn exited(&mut self) -> Result<Option<i32>> {
        let real = match self {
            Self::Fake(fake) => return Ok(tokio::time::timeout(PATIENCE, fake.exited()).await?),
            Self::Real(real) => real,
        };
        let end = async {
            loop {
                if let Some(status) = real.child.try_wait()? {
                    return Ok(status.code());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, end).await?
    }
}

/// The real Firecracker that `FIRECRACKER_BIN` names. A test that takes it is told as skipped when there is none.
pub(crate) fn real() -> Result<Option<PathBuf>> {
    let Some(program) =
        std::env::var_os("FIRECRACKER_BIN").filter(|value| !value.is_empty()).map(PathBuf::from)
    else {
        vm_testbed::skip("no Firecracker: set FIRECRACKER_BIN to that of a release, 1.16 or later");
        return Ok(None);
    };
    ensure!(program.is_file(), "{}: FIRECRACKER_BIN names what is not there", program.display());
    Ok(Some(program))
}

/// A guest of a few instructions: waits for a key, and restarts the machine.
fn kernel() -> Vec<u8> {
    const CODE: [u8; 13] = [
        0xe4, 0x64, // in al, 0x64: the keyboard controller's status
        0xa8, 0x01, // test al, 1: whether it has something to say
        0x74, 0xfa, // jz: the first instruction
        0xb0, 0xfe, // mov al, 0xfe: reset
        0xe6, 0x64, // out 0x64, al
        0xf4, // hlt
        0xeb, 0xfd, // jmp: hlt
    ];
    elf(&CODE)
}

/// A static program of a few instructions: says something, and ends.
#[cfg(target_arch = "x86_64")]
pub(crate) fn saying(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1: write
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1: the standard output
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, [rip + 16]: the text
    code.extend([0xba, length, 0, 0, 0]); // mov edx: its length
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 60, 0, 0, 0]); // mov eax, 60: exit
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x0f, 0x05]); // syscall
    code.extend(text.bytes());
    elf(&code)
}

/// An ELF file with one segment at 1 MiB, which begins with its first instruction.
fn elf(code: &[u8]) -> Vec<u8> {
    const ADDRESS: u64 = 1 << 20;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves =
        |file: &mut Vec<u8>, numbers: &[u16]| numbers.iter().for_each(|n| file.extend(n.to_le_bytes()));
    let words =
        |file: &mut Vec<u8>, numbers: &[u32]| numbers.iter().for_each(|n| file.extend(n.to_le_bytes()));
    let longs =
        |file: &mut Vec<u8>, numbers: &[u64]| numbers.iter().for_each(|n| file.extend(n.to_le_bytes()));
    // An executable for x86-64, where it begins, and where its one program header is.
    halves(&mut file, &[2, 62]);
    words(&mut file, &[1]);
    longs(&mut file, &[ADDRESS + HEADERS, 64, 0]);
    words(&mut file, &[0]);
    halves(&mut file, &[64, 56, 1, 0, 0, 0]);
    // All of the file is loaded, readable and executable.
    words(&mut file, &[1, 5]);
    longs(&mut file, &[0, ADDRESS, ADDRESS, size, size, 4096]);
    file.extend(code);
    file
}
