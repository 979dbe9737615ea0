//! VMs that Firecracker runs under keepers: the fake as a process of its own, and the real one.
//!
//! The fake is this program again, with one test and a variable that says where its socket is to be; a script does that in Firecracker's stead.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use provider_microvm::vmm::{
    Accelerator, Drive, Firecracker, FirecrackerOptions, How, Jailer, KeeperCommand, LogFile, Monitor as _,
    MonitorKind, RunFolder, Serial, Throttle, Vm, VmSpec, VmmError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bench::{Bench, PATIENCE, real};
use crate::fake::{Fake, Options, Trick};

mod faults;
#[cfg(target_arch = "x86_64")]
mod jailed;
mod metrics;
mod network;
mod stale;
mod stuck;

/// Where the fake's socket is to be.
const SOCKET: &str = "FAKE_FIRECRACKER_SOCKET";
/// The call at which the fake dies, that it refuses, or that it never answers.
const DIES_AT: &str = "FAKE_FIRECRACKER_DIES_AT";
const REFUSES_AT: &str = "FAKE_FIRECRACKER_REFUSES_AT";
const HANGS_AT: &str = "FAKE_FIRECRACKER_HANGS_AT";
/// The call after whose first time that is done.
const FAULTS_AFTER: &str = "FAKE_FIRECRACKER_FAULTS_AFTER";
/// What the fake is to have for its `/`.
const ROOT: &str = "FAKE_FIRECRACKER_ROOT";
/// The test that is the fake.
const NAME: &str = "monitor::a_vm_of_the_fake_is_started_adopted_and_ended";

/// By itself: a VM's life. With the variable: the fake.
#[test]
fn a_vm_of_the_fake_is_started_adopted_and_ended() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match std::env::var_os(SOCKET) {
        Some(socket) => runtime.block_on(be_the_fake(Path::new(&socket))),
        None => runtime.block_on(async {
            let place = Place::new(None)?;
            place.ended(life(&place, true)).await
        }),
    }
}

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn a_vm_of_the_real_one_is_started_adopted_and_ended() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    let place = Place::new(Some(program))?;
    place.ended(life(&place, false)).await
}

#[expect(clippy::exit, reason = "it is a process whose exit code matters")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is the console, and the last words of a monitor"
)]
async fn be_the_fake(socket: &Path) -> Result<()> {
    if let Some(root) = std::env::var_os(ROOT) {
        std::os::unix::fs::chroot(root)?;
    }
    let mut options = Options { echoes_on: Some(1024), tells: true, ..Options::default() };
    let fault = r#"{"fault_message":"on purpose"}"#;
    let refusal = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{fault}", fault.len());
    let refuses = Trick::Says(refusal.into_bytes());
    for (variable, trick) in
        [(DIES_AT, Trick::Dies), (REFUSES_AT, refuses), (HANGS_AT, Trick::Late(PATIENCE * 10))]
    {
        if let Ok(call) = std::env::var(variable) {
            options.tricks.push((call.leak(), trick));
        }
    }
    options.tricks_after = std::env::var(FAULTS_AFTER).ok();
    let mut fake = Fake::start(socket, options)?;
    println!("fake: listens");
    let code = fake.exited().await;
    eprintln!("fake: ends");
    std::process::exit(code.unwrap_or(2))
}

/// A folder for VMs, and the program that runs them.
struct Place {
    bench: Bench,
    program: PathBuf,
}

impl Place {
    fn new(program: Option<PathBuf>) -> Result<Self> {
        let bench = Bench::new()?;
        let program = match program {
            Some(program) => program,
            None => script(&bench, "")?,
        };
        Ok(Self { bench, program })
    }

    /// One whose fake is told something more by variables.
    fn told(variable: &str, value: &str) -> Result<Self> {
        let bench = Bench::new()?;
        let program = script(&bench, &format!("export {variable}='{value}'\n"))?;
        Ok(Self { bench, program })
    }

    fn monitor(&self) -> Firecracker {
        Firecracker::new(self.options())
    }

    fn options(&self) -> FirecrackerOptions {
        let keeper = KeeperCommand { program: env!("CARGO_BIN_EXE_vmm-keeper").into(), args: Vec::new() };
        let mut options = FirecrackerOptions::new(keeper);
        options.jailer = Jailer::Off;
        options.program.clone_from(&self.program);
        options
    }

    fn folder(&self) -> RunFolder {
        RunFolder::new(self.bench.path("run"))
    }

    fn spec(&self) -> Result<VmSpec> {
        let drive = |name: &str, read_only| -> Result<Drive> {
            let path = self.bench.path(&format!("{name}.img"));
            Ok(Drive { path, serial: Serial::new(name)?, read_only, throttle: None })
        };
        Ok(VmSpec {
            seat: "demo/1".into(),
            folder: self.folder(),
            kernel: self.bench.path("vmlinux"),
            initramfs: self.bench.path("initramfs"),
            command_line: "quiet".into(),
            vcpus: 1,
            memory_mib: 64,
            drives: vec![drive("root", true)?, drive("data", false)?],
            nics: Vec::new(),
            network_namespace: None,
            user: None,
            cgroup: None,
            console: LogFile { path: self.bench.path("console.log"), max_bytes: 1 << 20, files: 2 },
            accelerator: Accelerator::Auto,
        })
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.bench.path("console.log")).unwrap_or_default()
    }

    /// The names in the folder of the VM.
    fn left(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(self.folder().path())?;
        let mut names: Vec<_> = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// Ends the VM, also of a test that failed.
    async fn ended(&self, test: impl Future<Output = Result<()>>) -> Result<()> {
        let result = tokio::time::timeout(PATIENCE * 2, test).await.context("too slow");
        self.monitor().clear("demo/1", &self.folder()).await?;
        result?.with_context(|| format!("the console says:\n{}", self.console()))
    }
}

/// A program that does what Firecracker does with the arguments of a monitor.
fn script(bench: &Bench, more: &str) -> Result<PathBuf> {
    let path = bench.path("firecracker");
    let this = std::env::current_exe()?;
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'Firecracker v1.16.1'; exit; fi\n\
         export {SOCKET}=\"$2\"\n{more}exec '{}' --exact {NAME} --nocapture\n",
        this.display()
    );
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

async fn life(place: &Place, echoes: bool) -> Result<()> {
    let vm = place.monitor().start(&place.spec()?).await?;
    ensure!(vm.is_alive()? && vm.identity().monitor == MonitorKind::Firecracker);
    ensure!(place.bench.path("run/vmm/api.sock").exists() && place.bench.path("run/vmm/agent.sock").exists());
    let busy = place.monitor().start(&place.spec()?).await.map(drop);
    ensure!(matches!(busy, Err(VmmError::Busy { .. })), "{busy:?}");
    let identity = vm.identity().clone();
    drop(vm);

    let adopted = place.monitor().adopt("demo/1", &place.folder()).await?;
    let vm = adopted.context("there is one")?;
    ensure!(vm.identity() == &identity);
    vm.pause().await?;
    vm.pause().await?;
    vm.resume().await?;
    vm.resume().await?;
    let throttle = Throttle { bytes_per_second: 1 << 20, operations_per_second: 0 };
    vm.set_throttle(&Serial::new("data")?, throttle).await?;
    let why = vm.set_throttle(&Serial::new("no")?, throttle).await.unwrap_err().to_string();
    ensure!(why.starts_with("seat demo/1: PATCH /drives/no: Firecracker refuses:"), "{why}");
    ensure!(!vm.unstick().await?);
    let why = vm.qmp().await.map(drop).unwrap_err().to_string();
    ensure!(why == "seat demo/1: its monitor is no QEMU, and has no QMP", "{why}");
    if echoes {
        echoed(&vm).await?;
    }
    vm.press_power().await?;
    let exit = tokio::time::timeout(PATIENCE, vm.exited()).await??;
    ensure!(exit.how == How::Code(0), "{exit}");
    ensure!(!vm.is_alive()? && place.monitor().adopt("demo/1", &place.folder()).await?.is_none());
    ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);

    // Another one in the same folder, which ends otherwise.
    let vm = place.monitor().start(&place.spec()?).await?;
    vm.kill().await?;
    ensure!(vm.exited().await?.to_string() == "the VM was killed by SIGKILL");
    ensure!(place.left()? == ["exit.json", "keeper.lock", "launch.lock"], "{:?}", place.left()?);
    Ok(())
}

/// Two streams to the agent at the same time.
async fn echoed(vm: &Vm) -> Result<()> {
    vm.agent_listens().await?;
    let (mut first, mut second) = (vm.connect_agent().await?, vm.connect_agent().await?);
    for (stream, word) in [(&mut first, b"first"), (&mut second, b"other")] {
        stream.write_all(word).await?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await?;
        ensure!(&said == word);
    }
    Ok(())
}

/// Why a VM does not start, after which nothing of it is left.
async fn refused(place: &Place, monitor: &Firecracker, spec: &VmSpec) -> Result<VmmError> {
    let why = monitor.start(spec).await.map(drop).err().context("it was started")?;
    let left = place.left().unwrap_or_default();
    ensure!(left.iter().all(|name| name.ends_with(".lock")), "{why}: {left:?}");
    ensure!(monitor.adopt("demo/1", &place.folder()).await?.is_none());
    Ok(why)
}

#[tokio::test]
async fn what_the_process_refuses_is_told_and_leaves_nothing() -> Result<()> {
    let place = Place::new(None)?;
    std::fs::remove_file(place.bench.path("data.img"))?;
    let why = refused(&place, &place.monitor(), &place.spec()?).await?;
    ensure!(matches!(why, VmmError::Firecracker(_)));
    let said = why.to_string();
    ensure!(
        said.starts_with("seat demo/1: PUT /drives/data: Firecracker refuses: Drive config error"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_start_that_is_given_up_at_any_moment_leaves_nothing() -> Result<()> {
    let place = Place::new(None)?;
    let (monitor, spec) = (place.monitor(), place.spec()?);
    let mut given_up = 0;
    for moment in [0, 1, 2, 5, 10, 15, 20, 30, 50, 80] {
        match tokio::time::timeout(Duration::from_millis(moment), monitor.start(&spec)).await {
            Ok(Ok(vm)) => vm.kill().await?,
            // A keeper that nobody waits for any more may come late, and find that out.
            Ok(Err(VmmError::Busy { .. })) => {}
            Ok(Err(why)) => return Err(why.into()),
            Err(_) => given_up += 1,
        }
        // One that had just been confirmed is killed all the same, and may be found on its way out.
        if let Some(vm) = monitor.adopt("demo/1", &place.folder()).await? {
            let ended = tokio::time::timeout(PATIENCE, vm.exited()).await;
            ended.with_context(|| format!("it lives, given up after {moment} ms"))??;
        }
    }
    ensure!(given_up > 0);
    let none_is_left = async {
        while monitor.start(&spec).await.is_err_and(|why| matches!(why, VmmError::Busy { .. })) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, none_is_left).await?;
    monitor.clear("demo/1", &place.folder()).await?;
    let left = place.left()?;
    ensure!(left == ["exit.json", "keeper.lock", "launch.lock"], "{left:?}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_there_is_a_process() -> Result<()> {
    let place = Place::new(None)?;
    let monitor = &place.monitor();
    let said = |spec: VmSpec| async move { monitor.start(&spec).await.map(drop).unwrap_err().to_string() };
    let spec = place.spec()?;
    let why = said(VmSpec { accelerator: Accelerator::Tcg, ..spec.clone() }).await;
    ensure!(why.starts_with("seat demo/1: Firecracker runs guests with KVM alone"), "{why}");
    let mut kernel = vec![0; 0x202];
    kernel.extend(b"HdrS");
    std::fs::write(place.bench.path("vmlinux"), kernel)?;
    let why = said(spec.clone()).await;
    ensure!(why.contains("is a bzImage, which Firecracker 1.16.1 cannot load"), "{why}");
    std::fs::remove_file(place.bench.path("vmlinux"))?;
    let why = said(spec).await;
    ensure!(why.contains("vmlinux: No such file or directory"), "{why}");
    ensure!(!place.folder().path().exists());
    Ok(())
}
