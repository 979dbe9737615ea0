//! Side by side with the shell scripts: seats made by plain `docker` commands, and the scripts' own queries on ours.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::process::Command;

use docker_testbed::{Host, IMAGE};
use seats::{ApiKey, DataPolicy, Disposition, Provider, Scope, SeatSpec, Status, Timeline, WorkshopId};

/// Runs the command line client, as the scripts did.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What `create-container.sh` did: names, labels and settings of the design's section 6.
fn make_as_the_scripts_did(workshop: &WorkshopId, seat: u16, key: &str) {
    let network = format!("clarateach-{workshop}");
    let name = format!("clarateach-{workshop}-{seat}");
    let volume = format!("{name}-data");
    let of_workshop = format!("clarateach.workshop={workshop}");
    let of_seat = format!("clarateach.seat={seat}");
    let inspected = Command::new("docker").args(["network", "inspect", &network]).output().unwrap();
    if !inspected.status.success() {
        docker(&[
            "network",
            "create",
            "--label",
            "clarateach.type=workshop-network",
            "--label",
            &of_workshop,
            &network,
        ]);
    }
    docker(&[
        "volume",
        "create",
        "--label",
        "clarateach.type=workspace-data",
        "--label",
        &of_workshop,
        "--label",
        &of_seat,
        &volume,
    ]);
    docker(&[
        "run",
        "-d",
        "--name",
        &name,
        "--hostname",
        &format!("seat-{seat}"),
        "--network",
        &network,
        "--restart",
        "unless-stopped",
        "--label",
        "clarateach.type=learner-workspace",
        "--label",
        &of_workshop,
        "--label",
        &of_seat,
        "-v",
        &format!("{volume}:/workspace"),
        "-e",
        "WORKSPACE_DIR=/workspace",
        "-e",
        "TERM=xterm-256color",
        "-e",
        "TERMINAL_PORT=3001",
        "-e",
        "FILES_PORT=3002",
        "-e",
        "AUTH_DISABLED=false",
        "-e",
        &format!("SEAT={seat}"),
        "-e",
        &format!("CONTAINER_ID=c-{seat:02}"),
        "-e",
        &format!("ANTHROPIC_API_KEY={key}"),
        IMAGE,
        "node",
        "/home/learner/server/dist/index.js",
    ]);
}

fn wanted(workshop: &WorkshopId, seat: u64, key: &str) -> SeatSpec {
    SeatSpec { api_key: Some(ApiKey::new(key.into()).unwrap()), ..common::spec(common::seat(workshop, seat)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_of_the_scripts_are_listed_destroyed_and_made_again_with_their_data() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    make_as_the_scripts_did(&workshop, 1, "sk-canary-1");
    make_as_the_scripts_did(&workshop, 2, "sk-canary-2");
    let first = common::seat(&workshop, 1);

    let seen = provider.get(&first).await.unwrap().unwrap();
    let seen = provider.settle(&seen, common::START_TIMEOUT).await.unwrap();
    assert_eq!((seen.status, seen.ports.as_slice()), (Status::Running, &[3001, 3002][..]));
    assert!(seen.endpoint().unwrap().starts_with(&format!("http://{}", seen.ip.unwrap())));
    let listed = provider.list(&Scope::Workshop(workshop.clone())).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.seat.seat.get()).collect::<Vec<_>>(), [1, 2]);

    // The portal asks again for what is there: found, not made; with another key it is another seat.
    let found = provider.create(&wanted(&workshop, 1, "sk-canary-1"), &Timeline::default()).await.unwrap();
    assert_eq!((found.disposition, &found.instance.id), (Disposition::Found, &seen.id));
    let other =
        provider.create(&wanted(&workshop, 1, "sk-canary-9"), &Timeline::default()).await.unwrap_err();
    assert_eq!(other.code(), "seat_conflict");

    // Destroyed with its data kept, made again by the service on the scripts' network and volume.
    let name = format!("clarateach-{workshop}-1");
    host.exec(&name, &["sh", "-c", "echo homework > /workspace/file"]).await.unwrap();
    provider.destroy(&first, DataPolicy::Keep).await.unwrap();
    assert!(provider.get(&first).await.unwrap().is_none());
    let again = provider.create(&wanted(&workshop, 1, "sk-canary-1"), &Timeline::default()).await.unwrap();
    assert_eq!(again.disposition, Disposition::Made);
    assert_eq!(host.exec(&name, &["cat", "/workspace/file"]).await.unwrap().trim(), "homework");

    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn our_seats_satisfy_the_queries_of_the_scripts() {
    let host = Host::of_this_machine().await.unwrap();
    let provider = common::provider(common::config(&host));
    let workshop = common::workshop();
    provider.create(&wanted(&workshop, 7, "sk-canary-7"), &Timeline::default()).await.unwrap();
    let filter = |key: &str, value: &str| format!("label=clarateach.{key}={value}");
    let (of_workshop, of_seat) = (filter("workshop", workshop.as_str()), filter("seat", "7"));
    let name = format!("clarateach-{workshop}-7");

    let listed = docker(&[
        "ps",
        "-a",
        "--filter",
        &filter("type", "learner-workspace"),
        "--filter",
        &of_workshop,
        "--filter",
        &of_seat,
        "--format",
        "{{.Names}} {{.Label \"clarateach.workshop\"}} {{.Label \"clarateach.seat\"}} {{.Networks}}",
    ]);
    assert_eq!(listed, format!("{name} {workshop} 7 clarateach-{workshop}"));
    let networks = docker(&[
        "network",
        "ls",
        "--filter",
        &filter("type", "workshop-network"),
        "--filter",
        &of_workshop,
        "--format",
        "{{.Name}} {{.Driver}}",
    ]);
    assert_eq!(networks, format!("clarateach-{workshop} bridge"));
    let volumes = docker(&[
        "volume",
        "ls",
        "--filter",
        &filter("type", "workspace-data"),
        "--filter",
        &of_workshop,
        "--filter",
        &of_seat,
        "--format",
        "{{.Name}}",
    ]);
    assert_eq!(volumes, format!("{name}-data"));
    let settings = docker(&[
        "inspect",
        "--format",
        "{{.Config.Hostname}} {{.HostConfig.RestartPolicy.Name}} {{(index .Mounts 0).Destination}} {{(index .Mounts 0).Name}}",
        &name,
    ]);
    assert_eq!(settings, format!("seat-7 unless-stopped /workspace {name}-data"));

    // And what the scripts removed is gone for the service.
    docker(&["rm", "-f", &name]);
    docker(&["volume", "rm", &format!("{name}-data")]);
    docker(&["network", "rm", &format!("clarateach-{workshop}")]);
    assert!(provider.list(&Scope::Workshop(workshop.clone())).await.unwrap().is_empty());
    provider.destroy_workshop(&workshop, DataPolicy::Remove).await.unwrap();
}
