//! Network namespaces that go with the test.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Says in a test's process which namespace it was started from.
const OUTSIDE: &str = "HOSTNET_TEST_OUTSIDE";

/// Runs a test's body in a network namespace of its own: by this test binary started again, for this test alone.
pub(crate) fn isolated(name: &str, body: impl Future<Output = ()>) {
    isolated_in(&["--net"], name, body);
}

/// The same with mounts of its own: what is mounted goes with the test, and nobody else sees it.
pub(crate) fn isolated_with_mounts(name: &str, body: impl Future<Output = ()>) {
    isolated_in(&["--net", "--mount"], name, body);
}

/// The same with programs of the packet filters that write down when they are started, and do then what they should; to the body it is told where.
pub(crate) fn isolated_with_spies<F: Future<Output = ()>>(name: &str, body: impl FnOnce(PathBuf) -> F) {
    if std::env::var_os(OUTSIDE).is_some() {
        let path = std::env::var_os("PATH").unwrap();
        let spies = std::env::split_paths(&path).next().unwrap();
        return isolated(name, body(spies.join("started")));
    }
    let spies = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["nft", "iptables", "iptables-legacy"] {
        let real = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
        let Some(real) = real else { continue };
        let script = format!(
            "#!/bin/sh\necho \"{program} $*\" >>{}/started\nexec {} \"$@\"\n",
            spies.path().display(),
            real.display()
        );
        let spy = spies.path().join(program);
        std::fs::write(&spy, script).unwrap();
        std::fs::set_permissions(&spy, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let folders = std::iter::once(spies.path().to_owned()).chain(std::env::split_paths(&path));
    isolated_anew(&["--net"], name, Some(std::env::join_paths(folders).unwrap()));
}

/// The same with an `iptables` that says what is in a file and fails, for as long as that file is there; to the body it is told which.
pub(crate) fn isolated_with_iptables<F: Future<Output = ()>>(name: &str, body: impl FnOnce(PathBuf) -> F) {
    if std::env::var_os(OUTSIDE).is_some() {
        let path = std::env::var_os("PATH").unwrap();
        let folder = std::env::split_paths(&path).next().unwrap();
        return isolated(name, body(folder.join("says")));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("iptables")).find(|path| path.exists());
    let script = format!(
        "#!/bin/sh\n[ ! -e {0}/says ] || {{ cat {0}/says >&2; exit 4; }}\nexec {1} \"$@\"\n",
        folder.path().display(),
        real.unwrap().display()
    );
    let program = folder.path().join("iptables");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folders = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&path));
    isolated_anew(&["--net"], name, Some(std::env::join_paths(folders).unwrap()));
}

fn isolated_in(kinds: &[&str], name: &str, body: impl Future<Output = ()>) {
    if let Some(outside) = std::env::var_os(OUTSIDE) {
        let here = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_ne!(here.as_os_str(), outside, "this is no namespace of the test's own");
        super::run("ip link set lo up");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(body);
        return;
    }
    isolated_anew(kinds, name, None);
}

/// Starts this test binary again for one test, in namespaces of its own.
fn isolated_anew(kinds: &[&str], name: &str, path: Option<OsString>) {
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    let output = Command::new("unshare")
        .args(kinds)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(OUTSIDE, here)
        .envs(path.map(|path| ("PATH", path)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name}: see above");
}

/// A network namespace beside the test's, held by a process that ends when the test does.
pub(crate) struct Namespace {
    holder: Child,
    handle: File,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It answers once it is in its namespace.
        holder.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let handle = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        let namespace = Self { holder, handle };
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Runs something on a thread that is in the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.run(|| super::run(&format!("ip {arguments}")))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Without its standard input it ends.
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
