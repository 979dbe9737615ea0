//! What the doctor says of an engine: in order, without the image, without addresses, and of an engine that is gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use docker_testbed::{Host, IMAGE};
use provider_docker::{DockerConfig, DockerProvider};
use seats::{DataPolicy, Finding, ImageRef, Level, Provider, Timeline};

/// Everything that is looked at on an engine that answers.
const NAMES: [&str; 8] = ["engine", "image", "addresses", "disk", "limits", "metadata", "reach", "remains"];

fn image(text: &str) -> ImageRef {
    text.parse().unwrap()
}

async fn inspect(provider: &DockerProvider, of: &str) -> Vec<Finding> {
    let findings = provider.inspect_host(&image(of)).await;
    for finding in &findings {
        // What is in order needs no remedy, and everything else has one.
        assert_eq!(finding.level == Level::Ok, finding.remedy.is_none(), "{finding:?}");
        assert!(!finding.detail.is_empty(), "{finding:?}");
    }
    findings
}

fn found<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    let mut named = findings.iter().filter(|finding| finding.name == name);
    let finding = named.next().unwrap_or_else(|| panic!("no {name}: {findings:?}"));
    assert!(named.next().is_none(), "{name} twice: {findings:?}");
    finding
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_host_in_order_has_no_error_and_says_what_it_has() {
    let host = Host::of_this_machine().await.unwrap();
    let findings = inspect(&common::provider(common::config(&host)), IMAGE).await;
    assert_eq!(findings.iter().map(|finding| finding.name).collect::<Vec<_>>(), NAMES);
    assert!(findings.iter().all(|finding| finding.level != Level::Error), "{findings:?}");
    // The others depend on the machine: little disk or a kernel without swap limits are warnings.
    for name in ["engine", "image", "addresses", "metadata", "remains"] {
        assert_eq!(found(&findings, name).level, Level::Ok, "{findings:?}");
    }
    let version = host.docker.version().await.unwrap();
    let engine = &found(&findings, "engine").detail;
    assert!(engine.contains(&version.version.unwrap()), "{engine}");
    assert!(engine.contains(&version.api_version.unwrap()), "{engine}");
    let image = &found(&findings, "image").detail;
    assert!(image.contains(IMAGE) && image.contains("3001, 3002"), "{image}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_missing_image_is_a_warning_with_the_command_that_gets_it() {
    let host = Host::of_this_machine().await.unwrap();
    let missing = "localhost:9/clarateach-not-here:1";
    let findings = inspect(&common::provider(common::config(&host)), missing).await;
    let image = found(&findings, "image");
    assert_eq!(image.level, Level::Warning, "{image:?}");
    assert!(image.detail.contains(missing), "{image:?}");
    assert!(image.remedy.as_ref().unwrap().contains(&format!("docker pull {missing}")), "{image:?}");
    // The rest was looked at all the same.
    assert_eq!(findings.len(), NAMES.len(), "{findings:?}");
    // Looking pulls nothing.
    assert!(host.docker.inspect_image(missing).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_pool_of_one_subnet_is_counted_down_to_an_error() {
    let host = Host::of_this_machine().await.unwrap();
    let pool = "10.223.0.0/25".parse().unwrap();
    let provider = common::provider(DockerConfig { pool, ..common::config(&host) });
    let free = inspect(&provider, IMAGE).await;
    let free = found(&free, "addresses");
    assert_eq!(free.level, Level::Ok, "{free:?}");
    assert!(free.detail.contains("room for 1 more workshop"), "{free:?}");

    let workshop = common::workshop();
    provider.create(&common::spec(common::seat(&workshop, 1)), &Timeline::default()).await.unwrap();
    let full = inspect(&provider, IMAGE).await;
    let full = found(&full, "addresses");
    assert_eq!(full.level, Level::Error, "{full:?}");
    assert!(full.detail.contains("10.223.0.0/25"), "{full:?}");
    let remedy = full.remedy.as_ref().unwrap();
    assert!(remedy.contains("destroy a workshop") && remedy.contains("docker.pool"), "{full:?}");

    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    let again = inspect(&provider, IMAGE).await;
    assert_eq!(found(&again, "addresses").level, Level::Ok, "{again:?}");
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

/// The socket of an engine that was killed: the file is there, and nobody listens.
struct DeadSocket(PathBuf);

impl DeadSocket {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("{}.sock", common::workshop()));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Self(path)
    }
}

impl Drop for DeadSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_engine_that_is_gone_is_one_error_with_where_it_should_be() {
    let host = Host::of_this_machine().await.unwrap();
    let dead = DeadSocket::new();
    let socket = dead.0.to_str().unwrap();
    let provider = common::provider(DockerConfig { host: socket.parse().unwrap(), ..common::config(&host) });
    let findings = inspect(&provider, IMAGE).await;
    let [engine] = findings.as_slice() else { panic!("nothing else can be known: {findings:?}") };
    assert_eq!((engine.name, engine.level), ("engine", Level::Error), "{engine:?}");
    let remedy = engine.remedy.as_ref().unwrap();
    assert!(remedy.contains("start it") && remedy.contains(socket), "{engine:?}");
}
