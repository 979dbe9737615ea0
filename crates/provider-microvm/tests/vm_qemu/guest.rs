//! A guest small enough to be started often, and what tests ask of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use provider_microvm::vmm::{
    Accelerator, Drive, KeeperCommand, LogFile, Monitor as _, Qemu, QemuOptions, RunFolder, Serial, Vm,
    VmSpec,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vm_testbed::{Initramfs, Kernel, told_of};

/// How long anything may take on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Answers each line on the agent's port, and says on the console that it is there.
const ECHO: &str = r#"
until grep -q clarateach.agent /sys/class/virtio-ports/*/name 2>/dev/null; do sleep 0.1; done
port=$(grep -l clarateach.agent /sys/class/virtio-ports/*/name)
port=/dev/$(basename $(dirname $port))
exec 3<>$port
echo "guest: ready"
while :; do
  # Nothing to read is also said when the host has not connected yet.
  read -r word rest <&3 || { sleep 0.1; continue; }
  case $word in
    shell) sh -c "$rest" >/said 2>&1; cat /said >&3; echo done >&3 ;;
    end) exit ;;
    *) echo "$word $rest" >&3 ;;
  esac
done
"#;

/// A folder with all that a VM needs.
pub(crate) struct Guest {
    pub(crate) folder: tempfile::TempDir,
    kernel: PathBuf,
}

impl Guest {
    pub(crate) fn new() -> Result<Self> {
        Self::with_script(ECHO)
    }

    pub(crate) fn with_script(script: &str) -> Result<Self> {
        let kernel = Kernel::find()?;
        let modules = ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng"];
        let archive = Initramfs::new(&kernel, &modules, script)?.finish();
        let folder = tempfile::Builder::new().prefix("vmm").tempdir()?;
        std::fs::write(folder.path().join("initramfs"), archive)?;
        Ok(Self { kernel: kernel.image().to_owned(), folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run_folder(&self) -> RunFolder {
        RunFolder::new(self.path().join("run"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("console.log")
    }

    pub(crate) fn spec(&self) -> VmSpec {
        spec(self.path(), &self.kernel)
    }

    /// A drive of 16 MiB of zeros.
    pub(crate) fn drive(&self, serial: &str, read_only: bool) -> Result<Drive> {
        let path = self.path().join(format!("{serial}.img"));
        std::fs::File::create(&path)?.set_len(16 << 20)?;
        Ok(Drive { path, serial: Serial::new(serial)?, read_only, throttle: None })
    }

    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }
}

/// A VM in a folder that a [`Guest`] has prepared.
pub(crate) fn spec(folder: &Path, kernel: &Path) -> VmSpec {
    VmSpec {
        seat: "demo/1".into(),
        folder: RunFolder::new(folder.join("run")),
        kernel: kernel.to_owned(),
        initramfs: folder.join("initramfs"),
        command_line: "quiet".into(),
        vcpus: 1,
        memory_mib: 192,
        drives: Vec::new(),
        nics: Vec::new(),
        network_namespace: None,
        user: None,
        cgroup: None,
        console: LogFile { path: folder.join("console.log"), max_bytes: 1 << 20, files: 2 },
        accelerator: Accelerator::Tcg,
    }
}

pub(crate) fn keeper() -> KeeperCommand {
    KeeperCommand { program: env!("CARGO_BIN_EXE_vmm-keeper").into(), args: Vec::new() }
}

/// One that says whose it is, and can be seen before it has opened anything.
pub(crate) fn keeper_of(folder: &Path) -> KeeperCommand {
    KeeperCommand { args: vec![folder.into()], ..keeper() }
}

pub(crate) fn monitor() -> Qemu {
    Qemu::new(QemuOptions::new(keeper()))
}

/// A guest that is ended when a test fails.
pub(crate) async fn ended<T>(guest: &Guest, test: impl Future<Output = Result<T>>) -> Result<T> {
    let result = tokio::time::timeout(PATIENCE, test).await;
    let cleared = monitor().clear("demo/1", &guest.run_folder()).await;
    let result = result.with_context(|| format!("too slow; the console says:\n{}", guest.console()))?;
    let result = result.with_context(|| format!("the console says:\n{}", guest.console()))?;
    cleared?;
    let left = processes(guest.path())?;
    if !left.is_empty() {
        bail!("left over: {left:?}");
    }
    Ok(result)
}

/// A word to the guest, and the lines of its answer up to the one that is `last`.
pub(crate) async fn say(vm: &Vm, line: &str, last: &str) -> Result<String> {
    let mut stream = vm.connect_agent().await?;
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(format!("{last}\n").as_bytes())
        && !answer.ends_with(format!("{last} \n").as_bytes())
    {
        if stream.read(&mut byte).await? == 0 {
            bail!("the port was closed after {:?}", String::from_utf8_lossy(&answer));
        }
        if byte[0] != b'\r' {
            answer.push(byte[0]);
        }
    }
    Ok(String::from_utf8(answer)?)
}

/// What a command says in the guest.
pub(crate) async fn shell(vm: &Vm, command: &str) -> Result<String> {
    let answer = say(vm, &format!("shell {command}"), "done").await?;
    Ok(answer.trim_end().trim_end_matches("done").trim_end().to_owned())
}

/// Processes of this host that were told of this folder, or have something of it open, by their command line.
pub(crate) fn processes(folder: &Path) -> Result<Vec<String>> {
    let own = String::from_utf8(std::fs::read("/proc/self/cmdline")?)?.replace('\0', " ");
    loop {
        let found = processes_now(folder)?;
        // What another test just starts has all that this process has, until it is another program.
        if !found.iter().any(|process| process.ends_with(&format!(": {own}"))) {
            return Ok(found);
        }
        std::thread::yield_now();
    }
}

fn processes_now(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.path();
        if process
            .file_name()
            .is_none_or(|name| !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
            || process.ends_with(std::process::id().to_string())
        {
            continue;
        }
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let uses = open
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|path| path.starts_with(folder));
        if uses || told_of(&process, folder) {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            found.push(format!(
                "{}: {}",
                process.display(),
                String::from_utf8_lossy(&line).replace('\0', " ")
            ));
        }
    }
    Ok(found)
}
