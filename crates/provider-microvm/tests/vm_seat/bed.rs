//! A service's provider over a host of its own, and what tests ask of its seats.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use guest_protocol::client::{Agent, ExecResult};
use guest_protocol::{ExecRequest, Exit, Health};
use provider_microvm::{MicrovmConfig, MicrovmProvider};
use seats::{
    DataPolicy, EnvVars, Instance, Limits, Provider as _, SeatBound, SeatRef, SeatSpec, Status, Timeline,
};
use vm_testbed::{Ground, IMAGE, Image};

use crate::host::{Host, START_TIMEOUT};

/// Far more than a test needs on a busy machine: only what hangs gets there.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two looks at something that must come.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) struct Bed {
    pub(crate) host: Host,
    provider: Option<Arc<MicrovmProvider>>,
}

/// Runs the body of a test over a host that has these images beside those of the testbed. When it passes, everything must be gone.
pub(crate) fn run(images: &[(&str, Image)], test: impl AsyncFnOnce(&mut Bed)) {
    run_with(images, |_| {}, test);
}

/// As [`run`], with other settings.
pub(crate) fn run_with(
    images: &[(&str, Image)],
    set: impl FnOnce(&mut MicrovmConfig),
    test: impl AsyncFnOnce(&mut Bed),
) {
    let mut host = Host::new().unwrap();
    let archives = host.config.images.archives[0].clone();
    for (tag, image) in images {
        image.save(&archives, tag).unwrap();
    }
    (host.config.scratch_mib, host.config.data_mib, host.config.least_free_mib) = (32, 32, 16);
    set(&mut host.config);
    let mut bed = Bed { host, provider: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        bed.serve().await;
        let nothing = bed.left();
        let ended = tokio::time::timeout(PATIENCE, test(&mut bed)).await;
        assert!(ended.is_ok(), "the test does not end within {PATIENCE:?}");
        assert_eq!(bed.left(), nothing, "something is left");
    });
}

impl Bed {
    /// Begins to serve, as a service does when it starts.
    pub(crate) async fn serve(&mut self) {
        let provider = self.host.provider();
        provider.start().await.unwrap();
        self.provider = Some(provider);
    }

    /// Serves no more; seats run on.
    pub(crate) fn leave(&mut self) {
        self.provider = None;
    }

    pub(crate) fn provider(&self) -> &MicrovmProvider {
        self.provider.as_ref().unwrap()
    }

    fn ground<T>(&self, look: impl FnOnce(Ground<'_>) -> T) -> T {
        look(Ground { folder: self.host.folder.path(), cgroup: self.host.config.cgroup.as_ref().unwrap() })
    }

    /// Everything that seats have on this host, a line each.
    pub(crate) fn left(&self) -> BTreeSet<String> {
        self.ground(|ground| ground.left(&[]))
    }

    pub(crate) fn seat(&self, number: u16) -> SeatRef {
        SeatRef::new("demo".parse().unwrap(), SeatBound::default().seat(number.into()).unwrap())
    }

    /// A small seat with this image.
    pub(crate) fn spec(&self, seat: &SeatRef, tag: &str) -> SeatSpec {
        SeatSpec {
            seat: seat.clone(),
            image: format!("{IMAGE}:{tag}").parse().unwrap(),
            env: EnvVars::default(),
            limits: Limits { cpu_millis: 1000, memory_mib: 128, pids: 64 },
            api_key: None,
        }
    }

    /// Makes a seat, and waits for what becomes of it.
    pub(crate) async fn create(&self, spec: &SeatSpec) -> Instance {
        let made = self.provider().create(spec, &Timeline::default()).await;
        let made = made.unwrap_or_else(|why| panic!("{}: {why}", spec.seat));
        self.provider().settle(&made.instance, START_TIMEOUT).await.unwrap()
    }

    /// Makes a seat that must run and answer.
    pub(crate) async fn running(&self, spec: &SeatSpec) -> Instance {
        let made = self.create(spec).await;
        assert_eq!(
            (made.status, &made.reason),
            (Status::Running, &None),
            "{made:?}\n{}",
            self.console(&spec.seat)
        );
        self.answers(&made);
        made
    }

    /// A seat as it is listed.
    pub(crate) async fn listed(&self, seat: &SeatRef) -> Option<Instance> {
        let all = self.provider().list(&seats::Scope::All).await.unwrap();
        all.into_iter().find(|instance| instance.seat == *seat)
    }

    /// Waits until a seat is listed as running.
    pub(crate) async fn until_running(&self, seat: &SeatRef) -> Instance {
        loop {
            match self.listed(seat).await.unwrap() {
                instance if instance.status == Status::Running => return instance,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Destroys a seat, and keeps its data.
    pub(crate) async fn put_away(&self, seat: &SeatRef) {
        self.provider().destroy(seat, DataPolicy::Keep).await.unwrap();
    }

    /// Destroys a seat with its data.
    pub(crate) async fn destroy(&self, seat: &SeatRef) {
        self.provider().destroy(seat, DataPolicy::Remove).await.unwrap();
    }

    /// Asserts that a seat answers on every port of its.
    #[track_caller]
    pub(crate) fn answers(&self, instance: &Instance) {
        for url in instance.endpoints.values() {
            let url = format!("{url}/health");
            let output = Command::new("curl").args(["-s", "-f", "-m", "60", &url]).output().unwrap();
            let body = String::from_utf8_lossy(&output.stdout);
            assert!(
                body.contains("\"status\": \"ok\""),
                "{url}: {output:?}\n{}",
                self.console(&instance.seat)
            );
        }
    }

    pub(crate) async fn agent(&self, seat: &SeatRef) -> Agent {
        self.provider().agent(seat, START_TIMEOUT).await.unwrap()
    }

    /// What a program does in a seat, as the workload's user.
    pub(crate) async fn exec(&self, seat: &SeatRef, argv: &[&str]) -> ExecResult {
        let request = ExecRequest::new(argv.iter().copied());
        self.agent(seat).await.run(&request, b"", 1 << 20).await.unwrap()
    }

    /// What a shell in a seat says, as the workload's user; it must end well.
    pub(crate) async fn shell(&self, seat: &SeatRef, script: &str) -> String {
        self.shell_as(seat, None, script).await
    }

    pub(crate) async fn shell_as(&self, seat: &SeatRef, user: Option<&str>, script: &str) -> String {
        let mut request = ExecRequest::new(["/bin/sh", "-c", script]);
        request.user = user.map(str::to_owned);
        let result = self.agent(seat).await.run(&request, b"", 1 << 20).await.unwrap();
        assert_eq!(result.exit, Exit::Code(0), "{script}: {result:?}");
        String::from_utf8_lossy(&result.out).trim_end().to_owned()
    }

    /// Waits until this holds of a guest's health.
    pub(crate) async fn until(&self, seat: &SeatRef, is_so: impl Fn(&Health) -> bool) -> Health {
        let mut watch = self.agent(seat).await.watch().await.unwrap();
        loop {
            let health = watch.next().await.unwrap();
            let health = health.unwrap_or_else(|| panic!("the agent has ended:\n{}", self.console(seat)));
            if is_so(&health) {
                return health;
            }
        }
    }

    pub(crate) fn folder(&self, seat: &SeatRef) -> PathBuf {
        self.host.seat_folder(seat)
    }

    /// What kernel and agent said.
    pub(crate) fn console(&self, seat: &SeatRef) -> String {
        fs::read_to_string(self.folder(seat).join("console.log")).unwrap_or_default()
    }

    /// The process number of a seat's monitor.
    pub(crate) fn monitor(&self, seat: &SeatRef) -> u32 {
        let record = fs::read(self.folder(seat).join("run/vmm.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        record["vmm"]["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// What a file takes of the host's disk, in bytes, and how long it is.
    pub(crate) fn allocated(&self, seat: &SeatRef, file: &str) -> (u64, u64) {
        let about = fs::metadata(self.folder(seat).join(file)).unwrap();
        (about.blocks() * 512, about.len())
    }
}

impl Drop for Bed {
    /// What a test that failed left running ends.
    fn drop(&mut self) {
        self.ground(|ground| ground.raze());
    }
}

/// Looks until it is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    while !is_so().await {
        tokio::time::sleep(LOOK).await;
    }
}

/// Everything in a folder.
pub(crate) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// Whether one of these words is somewhere in a file. By grep(1), since a guest's memory is large, and tests are not optimized.
pub(crate) fn holds_one(path: &Path, words: &[&str]) -> bool {
    let mut grep = Command::new("grep");
    grep.args(["-q", "-a", "-F"]);
    for word in words {
        grep.args(["-e", word]);
    }
    let status = grep.arg("--").arg(path).status().unwrap();
    match status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("grep in {}: {status}", path.display()),
    }
}

/// The first of these that is somewhere in a file. Pages of zeros are not looked at, of which a guest's memory has many.
pub(crate) fn held<'a>(path: &Path, wanted: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    let bytes = fs::read(path).unwrap();
    for (number, page) in
        bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0))
    {
        for at in (number * 4096..).take(page.len()) {
            let here = &bytes[at..];
            if let Some(found) = wanted.iter().find(|one| one[0] == here[0] && here.starts_with(one)) {
                return Some(found);
            }
        }
    }
    None
}
