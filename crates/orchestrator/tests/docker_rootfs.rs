//! `orchestrator rootfs` with images of a real engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "cli/process.rs"]
mod process;

use std::path::Path;
use std::process::Command;

use docker_testbed::{Host, IMAGE};
use process::{Done, orchestrator, run};

fn rootfs(host: &Host, folder: &Path, arguments: &[&str]) -> Done {
    let mut command = orchestrator(folder);
    command.args(["--output", "json", "rootfs"]).args(arguments);
    let socket = format!("unix://{}", host.socket.display());
    run(command.env("ORCHESTRATOR_DOCKER_HOST", socket).env("ORCHESTRATOR_STATE_DIR", folder.join("state")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_image_of_the_engine_and_its_archive_are_one_entry() {
    let host = Host::of_this_machine().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // 'docker save' takes all tags of a name without one.
    let image = format!("{IMAGE}:latest");
    let made = rootfs(&host, folder.path(), &["build", &image]).code(0).json();
    assert_eq!((&made["outcome"], &made["names"][0]), (&"made".into(), &image.as_str().into()));
    assert!(made["stages"]["fetch"].is_number(), "{made}");
    let again = rootfs(&host, folder.path(), &["build", &format!("docker-daemon:{image}")]).code(0).json();
    assert_eq!((&again["outcome"], &again["sha256"]), (&"found".into(), &made["sha256"]));

    let archive = folder.path().join("image.tar");
    let saved = Command::new("docker")
        .env("DOCKER_HOST", format!("unix://{}", host.socket.display()))
        .args(["save", &image, "-o"])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(saved.status.success(), "{saved:?}");
    let of_archive = rootfs(&host, folder.path(), &["build", "./image.tar"]).code(0).json();
    assert_eq!((&of_archive["outcome"], &of_archive["image"]), (&"found".into(), &made["image"]));
    // Made anew, it has the same bytes.
    let out = ["build", "./image.tar", "-o", "disk.ext4"];
    assert_eq!(rootfs(&host, folder.path(), &out).code(0).json()["sha256"], made["sha256"]);
    assert_eq!(rootfs(&host, folder.path(), &["verify"]).code(0).json()["ok"], true);
    // What was brought from the engine had no name, and is gone.
    let mut left: Vec<_> = std::fs::read_dir(folder.path().join("state/images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let entry = Path::new(made["rootfs"].as_str().unwrap()).parent().unwrap().file_name().unwrap();
    assert_eq!(left, [".locks", entry.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_image_that_the_engine_lacks_is_looked_for_nowhere_else() {
    let host = Host::of_this_machine().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let missing = rootfs(&host, folder.path(), &["build", "store/no-such-image:1"]).code(3);
    assert!(missing.err.contains("store/no-such-image:1"), "{missing:?}");
    let other = rootfs(&host, folder.path(), &["build", IMAGE, "--architecture", "s390x"]).code(2);
    assert!(other.err.contains("s390x"), "{other:?}");
}
