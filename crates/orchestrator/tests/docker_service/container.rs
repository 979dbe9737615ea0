//! The service itself in a container, with the engine's socket mounted.

use std::process::{Command, Stdio};
use std::time::Duration;

use docker_testbed::{Host, IMAGE};
use serde_json::{Value, json};

use crate::{client, workshop};

/// A container that runs the service, removed when dropped.
struct Contained(String);

impl Drop for Contained {
    fn drop(&mut self) {
        if let Some(file) = crate::process::kept_as("contained") {
            let mut logs = Command::new("docker");
            drop(logs.args(["logs", &self.0]).stdout(Stdio::null()).stderr(file).status());
        }
        drop(Command::new("docker").args(["rm", "-f", &self.0]).output());
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts the binary under test in a container; its libraries are this machine's.
fn contained(host: &Host, name: &str, network: &[&str], flags: &[&str]) -> Contained {
    let binary = env!("CARGO_BIN_EXE_orchestrator");
    let mounts = [
        format!("{binary}:/orchestrator:ro"),
        format!("{}:/var/run/docker.sock", host.socket.display()),
        "/lib:/lib:ro".to_owned(),
        "/lib64:/lib64:ro".to_owned(),
        "/usr/lib:/usr/lib:ro".to_owned(),
    ];
    let mut arguments = vec!["run", "-d", "--name", name, "--user", "0", "--entrypoint", "/orchestrator"];
    arguments.extend(mounts.iter().flat_map(|mount| ["-v", mount.as_str()]));
    arguments.extend(network);
    arguments.push(IMAGE);
    arguments.extend([
        "serve",
        "--provider=docker",
        "--docker-pool=10.218.0.0/16",
        "--docker-metadata-guard=off",
    ]);
    arguments.extend([
        "--log-format=json",
        "--seats-memory-mib=64",
        "--seats-cpus=0.5",
        "--seats-image",
        IMAGE,
    ]);
    arguments.extend(flags);
    docker(&arguments);
    Contained(name.to_owned())
}

/// Makes two seats, reaches them where the service says they are, and destroys them.
async fn make_and_reach(host: &Host, url: &str, token: Option<&str>) {
    let workshop = workshop();
    let client = client();
    let with = |request: reqwest::RequestBuilder| match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    for _ in 0..300 {
        if client.get(format!("{url}/livez")).send().await.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let class = format!("{url}/workshops/{workshop}");
    let up = with(client.put(&class)).json(&json!({"seats": 2})).send().await.unwrap();
    let report: Value = up.json().await.unwrap();
    assert_eq!(report["converged"], true, "{report}");
    for seat in report["seats"].as_array().unwrap() {
        assert_eq!(seat["instance"]["status"], "running", "{report}");
        let endpoint = seat["instance"]["endpoint"].as_str().unwrap();
        let health = client.get(format!("{endpoint}/health")).send().await.unwrap();
        assert!(health.status().is_success(), "{endpoint}");
    }
    assert_eq!(with(client.delete(&class)).send().await.unwrap().status(), 204);
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn on_the_hosts_network() {
    let host = Host::of_this_machine().await.unwrap();
    let name = format!("service-{}", workshop());
    let _service = contained(&host, &name, &["--network", "host"], &["--listen=127.0.0.1:18471"]);
    make_and_reach(&host, "http://127.0.0.1:18471", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn on_a_network_of_its_own_with_published_seats() {
    let host = Host::of_this_machine().await.unwrap();
    let gateway = docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    let gateway = if gateway.is_empty() { "172.17.0.1".to_owned() } else { gateway };
    let name = format!("service-{}", workshop());
    let publish = format!("--docker-publish={gateway}");
    let network = ["-p", "127.0.0.1:18472:8080", "-e", "ORCHESTRATOR_TOKEN=sk-canary-token-of-this-test"];
    let _service = contained(&host, &name, &network, &["--listen=0.0.0.0:8080", &publish]);
    make_and_reach(&host, "http://127.0.0.1:18472", Some("sk-canary-token-of-this-test")).await;
}
