//! The cloud's metadata address, with and without the guard.
//!
//! A second network namespace plays the cloud: it has 169.254.169.254 and a server there. The engine has a network
//! namespace of its own too, so nobody else's packet filter is touched.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use docker_testbed::{Host, IMAGE, PrivateEngine};

use crate::{run_inside, serve_inside, workshop};

struct Cloud {
    namespace: String,
    servers: Vec<Child>,
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Cloud {
    /// Connects a cloud to an engine's network.
    fn beside(engine: &PrivateEngine) -> Self {
        let namespace = format!("ct-cloud-{}", std::process::id());
        let host = engine.namespace();
        ip(&format!("netns add {namespace}"));
        let mut cloud = Self { namespace, servers: Vec::new() };
        let there = &cloud.namespace;
        ip(&format!("link add name uplink netns {host} type veth peer name host netns {there}"));
        ip(&format!("-n {host} address add 10.220.0.1/24 dev uplink"));
        ip(&format!("-n {host} link set uplink up"));
        ip(&format!("-n {host} route add 169.254.169.254/32 via 10.220.0.2"));
        ip(&format!("-n {there} address add 10.220.0.2/24 dev host"));
        ip(&format!("-n {there} address add 169.254.169.254/32 dev host"));
        ip(&format!("-n {there} link set host up"));
        ip(&format!("-n {there} route add default via 10.220.0.1"));
        for port in ["80", "53"] {
            let address = format!("169.254.169.254:{port}");
            let server = Command::new("nsenter")
                .arg(format!("--net=/run/netns/{there}"))
                .args(["busybox", "httpd", "-f", "-p", &address, "-h", "/run/netns"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            cloud.servers.push(server.unwrap());
        }
        cloud
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.kill());
            drop(server.wait());
        }
        drop(Command::new("ip").args(["netns", "delete", &self.namespace]).output());
    }
}

/// Whether a program in the seat can connect to that port of the metadata address.
async fn reaches(host: &Host, container: &str, port: u16) -> bool {
    connects(host, container, "169.254.169.254", port).await
}

async fn connects(host: &Host, container: &str, address: &str, port: u16) -> bool {
    let script = format!("nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo yes || echo no");
    host.exec(container, &["sh", "-c", &script]).await.unwrap().trim() == "yes"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_are_kept_from_the_metadata_service_and_only_by_the_guard() {
    let machine = Host::of_this_machine().await.unwrap();
    let Some(engine) = PrivateEngine::start(None).await.unwrap() else { return };
    engine.load(&machine.socket, IMAGE).unwrap();
    let host = Host::at(&engine.socket()).await.unwrap();
    let _cloud = Cloud::beside(&engine);
    let workshop = workshop();
    let container = format!("clarateach-{workshop}-1");

    // Without the guard it is reached: the test is able to fail.
    let service = serve_inside(&engine, &["--docker-metadata-guard=off"]);
    run_inside(&engine, &service, &["seat", "create", workshop.as_str(), "1"]).code(0);
    let mut reached = false;
    for _ in 0..50 {
        reached = reached || reaches(&host, &container, 80).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if reached {
            break;
        }
    }
    assert!(reached, "the cloud of this test cannot be reached at all");
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    drop(service);

    // In force from the start: seats come back with the engine, before anybody asks for one.
    let service = serve_inside(&engine, &["--docker-metadata-guard=required"]);
    service.logged("kept from cloud metadata");
    let tables = engine.inside("nft").args(["list", "tables"]).output().unwrap();
    assert!(String::from_utf8_lossy(&tables.stdout).contains("clarateach_10_218_0_0_16"), "{tables:?}");
    run_inside(&engine, &service, &["seat", "create", workshop.as_str(), "1"]).code(0);
    assert!(!reaches(&host, &container, 80).await, "the guard is not in force");
    assert!(reaches(&host, &container, 53).await, "name resolution was cut off");
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
}

/// Docker's rules between bridges are gone for a moment whenever a network comes or goes. Here they are made void for
/// good, as any program may that writes into the chain that Docker leaves to its users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn workshops_are_kept_apart_without_the_engines_rules() {
    let machine = Host::of_this_machine().await.unwrap();
    let Some(engine) = PrivateEngine::start(None).await.unwrap() else { return };
    engine.load(&machine.socket, IMAGE).unwrap();
    let host = Host::at(&engine.socket()).await.unwrap();
    let (one, other) = (workshop(), workshop());
    let container = format!("clarateach-{one}-1");
    let allowed = engine.inside("iptables").args(["-I", "DOCKER-USER", "-j", "ACCEPT"]).output().unwrap();
    assert!(allowed.status.success(), "{allowed:?}");

    let service = serve_inside(&engine, &["--docker-metadata-guard=off"]);
    for workshop in [&one, &other] {
        run_inside(&engine, &service, &["seat", "create", workshop.as_str(), "1"]).code(0);
    }
    let shown =
        run_inside(&engine, &service, &["seat", "show", other.as_str(), "1", "--output", "json"]).code(0);
    let address = shown.json()["ip"].as_str().unwrap().to_owned();
    assert!(connects(&host, &container, &address, 3001).await, "nothing is left to keep them apart");
    drop(service);

    let service = serve_inside(&engine, &["--docker-metadata-guard=required"]);
    service.logged("kept from cloud metadata");
    assert!(!connects(&host, &container, &address, 3001).await, "the guard does not keep them apart");
    for workshop in [&one, &other] {
        run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    }
}
