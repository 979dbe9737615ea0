//! The service killed in the middle of a class.

use std::time::Duration;

use docker_testbed::Host;

use crate::process::Service;
use crate::{serve, workshop};

/// Takes a class down, of which nothing may be left then, but for a network that the engine keeps because it lost count of what
/// is attached (docs/performance.md, "A stuck network"): seats that start and stop side by side do that to it, seldom.
async fn is_gone(host: &Host, service: &Service, workshop: &seats::WorkshopId) {
    let down = service.run(&["class", "down", workshop.as_str()]);
    let mut remains = host.remains(workshop).await.unwrap();
    if down.code == 4 && down.err.contains("no container is attached to it, yet the engine counts one") {
        assert_eq!(remains.networks.len(), 1, "{remains}");
        remains.networks.clear();
    } else {
        assert_eq!(down.code, 0, "{down:?}");
    }
    assert!(remains.is_empty(), "{remains}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_service_killed_in_the_middle_of_a_class_finishes_it_when_asked_again() {
    const SEATS: usize = 10;
    let host = Host::of_this_machine().await.unwrap();
    for after in [0, 1, 4, 8] {
        let workshop = workshop();
        let mut service = serve(&host, &[]);
        let client = service.spawn(&["class", "up", workshop.as_str(), "--seats", &SEATS.to_string()]);
        // Killed as soon as that many containers are there, with others in every stage of being made.
        while host.remains(&workshop).await.unwrap().containers.len() < after {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service.kill();
        assert_ne!(crate::process::finish(client).code, 0);

        let service = serve(&host, &[]);
        let up = service.run(&[
            "--output",
            "json",
            "class",
            "up",
            workshop.as_str(),
            "--seats",
            &SEATS.to_string(),
        ]);
        let report = up.code(0).json();
        assert_eq!(report["converged"], true, "killed after {after}: {report}");
        let listed = service.run(&["--output", "json", "class", "list", workshop.as_str()]).code(0).json();
        let running = listed["seats"].as_array().unwrap().iter().filter(|seat| seat["status"] == "running");
        assert_eq!(running.count(), SEATS, "killed after {after}: {listed}");
        is_gone(&host, &service, &workshop).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_service_killed_in_the_middle_of_a_teardown_finishes_it_when_asked_again() {
    let host = Host::of_this_machine().await.unwrap();
    for before in [6, 5, 2] {
        let workshop = workshop();
        let mut service = serve(&host, &[]);
        service.run(&["class", "up", workshop.as_str(), "--seats", "6"]).code(0);
        let client = service.spawn(&["class", "down", workshop.as_str()]);
        while host.remains(&workshop).await.unwrap().containers.len() > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service.kill();
        drop(crate::process::finish(client));
        let service = serve(&host, &[]);
        is_gone(&host, &service, &workshop).await;
    }
}
