//! Seats of images that come from the Docker engine and from a registry.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::host::{Host, all_answer, list, said, until};
use crate::isolated;
use crate::process::{orchestrator, run};
use crate::registry::Registry;
use crate::same::no_engine;

/// A name in the engine that a test gives to images, and takes away.
struct Tag(String);

impl Tag {
    /// Has the name mean the image of the testbed with this tag.
    fn set(&self, archives: &Path, tag: &str) {
        said(
            "docker",
            &["load", "--quiet", "--input", archives.join(format!("{tag}.tar")).to_str().unwrap()],
        );
        let loaded = format!("{}:{tag}", vm_testbed::IMAGE);
        said("docker", &["tag", &loaded, &self.0]);
        said("docker", &["rmi", &loaded]);
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rmi", &self.0]).output());
    }
}

/// The entries of the store, and for whom each is kept.
fn kept(host: &Host) -> BTreeSet<(String, Vec<String>)> {
    let mut command = orchestrator(host.folder());
    command.args(["--output", "json", "rootfs", "list", "--state-dir"]).arg(host.state());
    let listed = run(&mut command).code(0).json();
    let entries = listed["entries"].as_array().unwrap().iter();
    let pins = |entry: &Value| -> Vec<String> {
        let pins = entry["pins"].as_array().unwrap().iter();
        // Behind the number of the service.
        pins.map(|pin| pin.as_str().unwrap().split_once('.').unwrap().1.to_owned()).collect()
    };
    entries.map(|entry| (entry["entry"].as_str().unwrap().to_owned(), pins(entry))).collect()
}

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel, a Docker engine and docker-registry; cargo xtask test runs it"]
fn seats_boot_from_the_engine_and_from_a_registry() {
    if let Some(why) = no_engine() {
        return vm_testbed::skip(&why);
    }
    if Command::new(Registry::PROGRAM).arg("--version").output().is_err() {
        return vm_testbed::skip(
            "docker-registry is not installed (scripts/ensure-test-tools.sh installs it)",
        );
    }
    isolated!(seats_boot_from_the_engine_and_from_a_registry, || {
        let host = Host::new();
        let archives = host.folder().join("archives");
        let tag = Tag(format!("microvm-test-{}:1", std::process::id()));
        tag.set(&archives, "latest");
        let registry = Registry::start();
        let in_registry = registry.push("class/lesson", &archives.join("other.tar"));
        let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
        let engine = format!("--docker-host={engine}");
        let flags = ["--microvm-image-archives=", "--microvm-registry=true", &engine];
        let mut service = host.serve(&flags);
        let nothing = host.left(&[&service]);

        let create = |seat: &'static str, image: &str| {
            ["seat", "create", "demo", seat, "--image", image].map(str::to_owned)
        };
        let words = |command: &[String]| command.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let made = |service: &crate::process::Service, command: &[String]| {
            let command: Vec<_> = command.iter().map(String::as_str).collect();
            service.run(&command)
        };
        for (seat, image) in [("1", tag.0.as_str()), ("2", &in_registry)] {
            let command = create(seat, image);
            let done = made(&service, &command);
            assert_eq!(done.code, 0, "{}: {done:?}", words(&command));
        }
        all_answer(&list(&service, "demo"), 2);
        // What is in neither is told with both.
        let missing = in_registry.replace("lesson", "missing");
        let refused = made(&service, &create("3", &missing));
        assert_ne!(refused.code, 0, "{refused:?}");
        for word in ["the Docker engine does not have it", "class/missing"] {
            assert!(refused.err.contains(word), "{refused:?}");
        }

        // The name means another image now: the next seat's, while the first keeps its own. A service that starts believes nothing.
        tag.set(&archives, "mute");
        service.kill();
        let service = host.serve(&flags);
        let before = kept(&host);
        let refused = made(&service, &["seat", "create", "demo", "1", "--image", &tag.0].map(str::to_owned));
        assert_eq!(refused.code, 0, "a seat that is there needs no image: {refused:?}");
        assert_eq!(kept(&host), before);
        let third = ["seat", "create", "demo", "3", "--wait", "0s", "--image", &tag.0].map(str::to_owned);
        made(&service, &third);
        let is_pinned = || kept(&host).iter().any(|(_, pins)| pins.iter().any(|pin| pin == "demo.3"));
        until("the third seat's image is kept for it", is_pinned);
        let of = |pin: &str| {
            let entries = kept(&host);
            let mut of = entries.into_iter().filter(|(_, pins)| pins.iter().any(|known| known == pin));
            of.next().unwrap_or_else(|| panic!("nothing is kept for {pin}: {:?}", kept(&host))).0
        };
        let entries = ["demo.1", "demo.2", "demo.3"].map(of);
        assert_eq!(BTreeSet::from(entries.clone()).len(), 3, "{entries:?}");
        let mut collect = orchestrator(host.folder());
        collect
            .args(["rootfs", "gc", "--keep", "0KiB", "--unused-for", "0s", "--state-dir"])
            .arg(host.state());
        run(&mut collect).code(0);
        assert_eq!(["demo.1", "demo.2", "demo.3"].map(of), entries);
        all_answer(&list(&service, "demo")[..2], 2);

        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
        let mut collect = orchestrator(host.folder());
        collect
            .args(["rootfs", "gc", "--keep", "0KiB", "--unused-for", "0s", "--state-dir"])
            .arg(host.state());
        run(&mut collect).code(0);
        assert_eq!(kept(&host), BTreeSet::new());
    });
}
