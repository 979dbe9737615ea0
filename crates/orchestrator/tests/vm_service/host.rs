//! A host of microVM seats: a state folder, a prepared kernel, images; and services over it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Service, orchestrator, run};

/// How many times, and how often, something is looked for that must come.
const LOOKS: u32 = 1500;
const LOOK: Duration = Duration::from_millis(200);

/// Small seats that have time, for emulated guests on a busy machine.
const FLAGS: [&str; 14] = [
    "serve",
    "--provider=microvm",
    "--listen=127.0.0.1:0",
    "--log-format=json",
    "--seats-cpus=1",
    "--seats-memory-mib=128",
    "--seats-pids=64",
    "--seats-start-timeout=240s",
    "--seats-stop-grace=5s",
    "--microvm-memory-percent=1000",
    "--microvm-scratch-mib=32",
    "--microvm-data-mib=32",
    "--microvm-least-free-mib=16",
    "--microvm-registry=false",
];

/// An image whose workspace knows how often it was started.
pub(crate) const REMEMBERS: &str = "microvm-testbed:remembers";

/// For commands that wait until a seat runs: those of guests in a guest take longer than people wait.
pub(crate) const PATIENT: &str = "--wait=600s";

pub(crate) struct Host {
    folder: TempDir,
    state: PathBuf,
}

impl Host {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ms").tempdir().unwrap();
        let state = folder.path().join("state");
        Self::over(folder, state)
    }

    /// With a state folder on a disk of its own of so many MiB.
    pub(crate) fn on_a_disk_of(mib: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("ms").tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let options = format!("size={mib}m,mode=0711");
        said("mount", &["-t", "tmpfs", "-o", &options, "disk", state.to_str().unwrap()]);
        Self::over(folder, state)
    }

    fn over(folder: TempDir, state: PathBuf) -> Self {
        // The users of monitors must reach the kernel in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let archives = folder.path().join("archives");
        fs::create_dir(&archives).unwrap();
        vm_testbed::archives(&archives).unwrap();
        let host = Self { folder, state };
        host.setup(&host.state);
        host
    }

    /// `microvm setup`, with the kernel and the agent of the tests.
    pub(crate) fn setup(&self, state: &Path) {
        let kernel = vm_testbed::Kernel::find().unwrap();
        let agent = vm_testbed::agent().unwrap();
        let mut command = orchestrator(self.folder.path());
        // It unpacks the kernel for Firecracker, which there is no flag for.
        if std::env::var_os(vm_testbed::UNDER_FIRECRACKER).is_some() {
            command.env("ORCHESTRATOR_MICROVM_MONITOR", "firecracker");
        }
        command.args(["microvm", "setup", "--from"]).arg(kernel.source()).arg("--agent").arg(agent);
        run(command.arg("--state-dir").arg(state)).code(0);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// What the cgroups of this host's seats are below.
    pub(crate) fn cgroup(&self) -> String {
        format!("clarateach-test-{}", std::process::id())
    }

    /// The command of a service over a state folder; flags that are in `more` are not those that all have.
    pub(crate) fn service(&self, state: &Path, more: &[&str]) -> (TempDir, Command) {
        let directory = tempfile::tempdir().unwrap();
        let mut command = orchestrator(directory.path());
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        let all = FLAGS.iter().map(|flag| (*flag).to_owned()).chain(under());
        let others = all.filter(|flag| !more.iter().any(|one| name(one) == name(flag)));
        command.args(others).arg("--state-dir").arg(state);
        if !more.contains(&"--seats-image") {
            command.arg("--seats-image").arg(format!("{}:latest", vm_testbed::IMAGE));
        }
        command.arg("--microvm-image-archives").arg(self.folder.path().join("archives"));
        // No engine is needed, and none is asked.
        command.arg("--docker-host").arg(format!("unix://{}/none.sock", self.folder.path().display()));
        command.arg("--microvm-cgroup").arg(self.cgroup());
        // Where QEMU, nft and the programs for packets are.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(more);
        (directory, command)
    }

    pub(crate) fn serve(&self, more: &[&str]) -> Service {
        let (directory, command) = self.service(&self.state, more);
        Service::launch(directory, command)
    }

    /// The process of a seat's monitor.
    pub(crate) fn monitor(&self, seat: &str) -> rustix::process::Pid {
        let path = self.state.join("microvm/workshops").join(seat).join("run/vmm.json");
        let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let mut pid = i32::try_from(record["vmm"]["pid"].as_i64().unwrap()).unwrap();
        if !record["jail"].is_null() {
            // That is the first process of its namespace, whose only child the monitor is.
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            pid = children.trim().parse().unwrap();
        }
        rustix::process::Pid::from_raw(pid).unwrap()
    }
}

/// The flags by which seats are VMs of Firecracker where a variable says that they are to be ([`vm_testbed::UNDER_FIRECRACKER`]), and QEMU's elsewhere.
fn under() -> Vec<String> {
    let Some(how) = std::env::var_os(vm_testbed::UNDER_FIRECRACKER) else {
        return vec!["--microvm-accelerator=tcg".into()];
    };
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let jailer = if how == "plain" { "off".into() } else { path(vm_testbed::jailer().unwrap()) };
    vec![
        "--microvm-monitor=firecracker".into(),
        format!("--microvm-firecracker={}", path(vm_testbed::firecracker().unwrap())),
        format!("--microvm-jailer={jailer}"),
    ]
}

impl Host {
    fn ground<T>(&self, look: impl FnOnce(vm_testbed::Ground<'_>) -> T) -> T {
        look(vm_testbed::Ground { folder: self.folder.path(), cgroup: &self.cgroup() })
    }

    /// Everything that seats have on this host, a line each, sorted; nothing when there are none. `services` are not counted.
    pub(crate) fn left(&self, services: &[&Service]) -> BTreeSet<String> {
        let services: Vec<_> = services.iter().map(|service| service.pid()).collect();
        self.ground(|ground| ground.left(&services))
    }
}

impl Drop for Host {
    /// What a test that failed left running ends: all in its namespace but itself.
    fn drop(&mut self) {
        self.ground(|ground| ground.raze());
        // A disk of its own goes with its mount namespace, but not before the folder under it.
        drop(Command::new("umount").args(["--quiet", "--lazy"]).arg(&self.state).output());
    }
}

/// Between two looks.
pub(crate) fn pause() {
    pause_for(LOOK);
}

pub(crate) fn pause_for(time: Duration) {
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("it never came: {what}");
}

/// What a program says that must succeed.
#[track_caller]
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What an address answers with, by curl: the body, and nothing when nobody answers.
pub(crate) fn curl(url: &str) -> Option<String> {
    let output = Command::new("curl").args(["-s", "-f", "-m", "60", url]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The seats of a workshop, as the command line lists them.
#[track_caller]
pub(crate) fn list(service: &Service, workshop: &str) -> Vec<Value> {
    let listed = service.run(&["--output", "json", "class", "list", workshop]).code(0).json();
    listed["seats"].as_array().unwrap().clone()
}

/// Whether so many seats are listed, all of them running and answering on both ports of theirs.
#[track_caller]
pub(crate) fn all_answer(seats: &[Value], number: usize) {
    assert_eq!(seats.len(), number, "{seats:?}");
    for seat in seats {
        assert_eq!(seat["status"], "running", "{seat}");
        for port in [3001, 3002] {
            let url = format!("http://{}:{port}/health", seat["ip"].as_str().unwrap());
            let body = curl(&url).unwrap_or_else(|| panic!("{url} does not answer: {seat}"));
            assert!(body.contains("\"status\": \"ok\""), "{url}: {body}");
        }
    }
}

/// How often the workspace of a seat was started that runs [`REMEMBERS`].
#[track_caller]
pub(crate) fn starts(seat: &Value) -> usize {
    let url = format!("http://{}:3001/starts", seat["ip"].as_str().unwrap());
    curl(&url).unwrap_or_else(|| panic!("{url} does not answer: {seat}")).lines().count()
}
