//! Images of a real registry (Debian's `docker-registry`), pushed by the engine: what comes is what the engine saves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rootfs::build::{Options as BuildOptions, build};
use rootfs::source::registry::{self, RegistryError};
use rootfs::source::{Choice, Image};
use rootfs::{Digest, Quiet};
use tempfile::TempDir;

/// Far longer than it takes to start; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);
const USER: &str = "learner";
const PASSWORD: &str = "sk-canary-registry";
/// The password by bcrypt, of the least cost that there is, as `htpasswd -B` writes it.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuTsZVZu/yam1ziY.65L..BPJEUY.nl2C";

/// A registry of its own that wants a password, with an image in it.
struct Registry {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = vm_testbed::free_port().unwrap();
        let passwords = folder.path().join("htpasswd");
        fs::write(&passwords, format!("{USER}:{HASH}\n")).unwrap();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            folder.path().join("data").display(),
            passwords.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|why| {
            panic!("docker-registry cannot be run: {why}; scripts/ensure-test-tools.sh installs it")
        });
        let registry = Self { folder, child, port };
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(since.elapsed() < HANG, "the registry does not listen");
            std::thread::yield_now();
        }
        registry
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}/class/testbed:1", self.port)
    }

    /// The folder of Docker's configuration, which has the password after a login.
    fn docker_config(&self) -> std::path::PathBuf {
        self.folder.path().join("docker")
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.arg("--config").arg(self.docker_config()).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Logs in and pushes the image; its name in the engine is gone afterwards.
    fn fill(&self, image: &str) {
        let name = self.name();
        let address = format!("127.0.0.1:{}", self.port);
        self.docker(&["login", "--username", USER, "--password", PASSWORD, &address]);
        self.docker(&["tag", image, &name]);
        let pushed = std::panic::catch_unwind(|| self.docker(&["push", "--quiet", &name]));
        self.docker(&["rmi", &name]);
        pushed.unwrap();
    }

    fn options(&self) -> registry::Options {
        registry::Options { docker_config: Some(self.docker_config()), ..registry::Options::default() }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn built(image: &Image, folder: &Path, name: &str) -> Digest {
    build(image, &folder.join(name), &BuildOptions::default(), &Quiet).unwrap().sha256
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn what_was_pushed_becomes_the_same_file() {
    let registry = Registry::start();
    registry.fill("clarateach-testbed:latest");
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.tar");
    registry.docker(&["save", "--output", saved.to_str().unwrap(), "clarateach-testbed:latest"]);
    let saved = Image::open(&saved, &Choice::default()).unwrap();

    let spool = tempfile::tempdir().unwrap();
    let (name, options) = (registry.name(), registry.options());
    let fetched = registry::fetch(&name, &options, spool.path(), None, &Quiet).await.unwrap();
    assert_eq!(fetched.id, saved.id);
    // The layers are packed there and plain here, and it makes no difference.
    assert_eq!(built(&fetched, folder.path(), "fetched"), built(&saved, folder.path(), "saved"));
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
    for architecture in ["s390x", "no-such"] {
        let other = registry::fetch(&name, &options, spool.path(), Some(architecture), &Quiet).await;
        assert!(matches!(other.unwrap_err(), RegistryError::Architecture { .. }));
    }
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn without_the_password_nothing_comes() {
    let registry = Registry::start();
    registry.fill("clarateach-testbed:latest");
    let spool = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let stranger =
        registry::Options { docker_config: Some(empty.path().into()), ..registry::Options::default() };
    let refused = registry::fetch(&registry.name(), &stranger, spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Denied { status: 401, known: false, .. }), "{refused}");
    // Another password than the right one.
    let known = fs::read_to_string(registry.docker_config().join("config.json")).unwrap();
    let mut known: serde_json::Value = serde_json::from_str(&known).unwrap();
    for (_, login) in known["auths"].as_object_mut().unwrap() {
        *login = serde_json::json!({"username": USER, "password": "sk-canary-wrong"});
    }
    fs::write(empty.path().join("config.json"), known.to_string()).unwrap();
    let refused = registry::fetch(&registry.name(), &stranger, spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Denied { known: true, .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("sk-canary"));
    let missing = format!("127.0.0.1:{}/class/missing:1", registry.port);
    let missing =
        registry::fetch(&missing, &registry.options(), spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NoSuch(_)), "{missing}");
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
}
