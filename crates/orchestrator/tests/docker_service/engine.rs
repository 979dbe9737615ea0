//! The engine killed and started again under a running service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::query_parameters::InspectContainerOptions;
use docker_testbed::{Host, IMAGE, PrivateEngine};
use serde_json::Value;

use crate::{run_inside, serve_inside, workshop};

/// How many times, and how often, something is looked for that must come.
const LOOKS: u32 = 300;
const LOOK: Duration = Duration::from_millis(200);

/// None where the test cannot run, and counts as skipped.
async fn engine() -> Option<PrivateEngine> {
    let host = Host::of_this_machine().await.unwrap();
    let engine = PrivateEngine::start(None).await.unwrap()?;
    engine.load(&host.socket, IMAGE).unwrap();
    Some(engine)
}

pub(crate) fn running(listed: &Value) -> usize {
    let seats = listed["seats"].as_array();
    seats.map_or(0, |seats| seats.iter().filter(|seat| seat["status"] == "running").count())
}

/// The status that an address answers with, asked from inside the engine's network.
pub(crate) fn status(engine: &PrivateEngine, url: &str) -> String {
    let curl = ["-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", url];
    let output = engine.inside("curl").args(curl).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether every listed seat answers at its endpoint.
pub(crate) fn all_answer(engine: &PrivateEngine, listed: &Value) -> bool {
    let seats = listed["seats"].as_array().unwrap();
    let endpoints = seats.iter().map(|seat| seat["endpoint"].as_str());
    endpoints.into_iter().all(|url| url.is_some_and(|url| status(engine, &format!("{url}/health")) == "200"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_outlive_the_engine_and_the_service_finds_it_again_by_itself() {
    let Some(mut engine) = engine().await else { return };
    let service = serve_inside(&engine, &[]);
    let workshop = workshop();
    let list = ["--output", "json", "class", "list", workshop.as_str()];
    run_inside(&engine, &service, &["class", "up", workshop.as_str(), "--seats", "3"]).code(0);
    assert_eq!(status(&engine, &service.at("/readyz")), "200");

    engine.kill().unwrap();
    let down = run_inside(&engine, &service, &list).code(5);
    assert!(down.err.contains("start the engine"), "{down:?}");
    assert_eq!(status(&engine, &service.at("/readyz")), "503");
    assert_eq!(status(&engine, &service.at("/livez")), "200");
    let refused = run_inside(&engine, &service, &["seat", "create", workshop.as_str(), "4"]);
    assert_eq!(refused.code, 5, "{refused:?}");

    engine.restart().await.unwrap();
    assert_eq!(status(&engine, &service.at("/readyz")), "200");
    for _ in 0..LOOKS {
        if running(&run_inside(&engine, &service, &list).code(0).json()) == 3 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let listed = run_inside(&engine, &service, &list).code(0).json();
    assert_eq!(running(&listed), 3, "{listed}");
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    assert!(Host::at(&engine.socket()).await.unwrap().remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_engine_killed_in_the_middle_of_a_class_leaves_nothing_unknown() {
    let Some(mut engine) = engine().await else { return };
    let service = serve_inside(&engine, &[]);
    let workshop = workshop();
    let up = ["class", "up", workshop.as_str(), "--seats", "8"];
    let mut command = engine.inside(env!("CARGO_BIN_EXE_orchestrator"));
    command.current_dir(service.directory.path()).args(up).env("ORCHESTRATOR_URL", &service.url);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let client = command.spawn().unwrap();
    let before = Host::at(&engine.socket()).await.unwrap();
    while before.remains(&workshop).await.is_ok_and(|remains| remains.containers.len() < 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.kill().unwrap();
    engine.restart().await.unwrap();
    // Some seats failed, most likely all of them for want of the engine; each says so.
    let first = crate::process::finish(client);
    assert!([0, 5, 6].contains(&first.code), "{first:?}");

    let mut again = run_inside(&engine, &service, &up);
    // An engine that was killed may still be finding out what it was doing.
    for _ in 0..LOOKS {
        if again.code == 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
        again = run_inside(&engine, &service, &up);
    }
    again.code(0);
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    let remains = Host::at(&engine.socket()).await.unwrap().remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
}

/// Without live-restore the engine ends the seats that it finds when it starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_that_end_with_the_engine_come_back_with_their_data_or_are_told_and_can_be_asked_for() {
    const SEATS: usize = 3;
    let machine = Host::of_this_machine().await.unwrap();
    let Some(mut engine) = PrivateEngine::start_without_live_restore().await.unwrap() else { return };
    engine.load(&machine.socket, IMAGE).unwrap();
    let host = Host::at(&engine.socket()).await.unwrap();
    let service = serve_inside(&engine, &[]);
    let workshop = workshop();
    let list = ["--output", "json", "class", "list", workshop.as_str()];
    let up = ["class", "up", workshop.as_str(), "--seats", "3"];
    run_inside(&engine, &service, &up).code(0);
    let containers = host.remains(&workshop).await.unwrap().containers;
    for name in &containers {
        host.exec(name, &["sh", "-c", "hostname >/workspace/work"]).await.unwrap();
    }
    let before = started(&host, &containers).await;

    engine.kill().unwrap();
    run_inside(&engine, &service, &list).code(5);
    engine.restart().await.unwrap();
    // Each comes back by its restart policy, or (engines as old as 20.10) is told to be stopped, or why it is broken;
    // none is lost, none starts for ever.
    let mut listed = run_inside(&engine, &service, &list).code(0).json();
    for _ in 0..LOOKS {
        if listed["seats"].as_array().unwrap().iter().all(|seat| seat["status"] != "starting") {
            break;
        }
        tokio::time::sleep(LOOK).await;
        listed = run_inside(&engine, &service, &list).code(0).json();
    }
    let seats = listed["seats"].as_array().unwrap();
    assert_eq!(seats.len(), SEATS, "{listed}");
    for seat in seats {
        match seat["status"].as_str().unwrap() {
            "running" | "stopped" => {}
            "error" => assert!(seat["reason"].is_string(), "{listed}"),
            status => panic!("{status}: {listed}"),
        }
    }

    // Asked for again, all of them run and have what they had.
    let mut again = run_inside(&engine, &service, &up);
    for _ in 0..LOOKS {
        if again.code == 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
        again = run_inside(&engine, &service, &up);
    }
    again.code(0);
    let listed = run_inside(&engine, &service, &list).code(0).json();
    assert_eq!(running(&listed), SEATS, "{listed}");
    assert!(all_answer(&engine, &listed), "{listed}");
    // The engine was another one for the seats: they did end.
    let after = started(&host, &containers).await;
    assert!(before.iter().all(|(name, start)| after[name] != *start), "{before:?} {after:?}");
    for name in &containers {
        let work = host.exec(name, &["cat", "/workspace/work"]).await.unwrap();
        assert!(work.starts_with("seat-"), "{name}: {work:?}");
    }
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    let remains = host.remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
}

/// When each container was started last.
async fn started(host: &Host, names: &BTreeSet<String>) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for name in names {
        let inspected = host.docker.inspect_container(name, None::<InspectContainerOptions>).await.unwrap();
        let start = inspected.state.unwrap().started_at;
        found.insert(name.clone(), start);
    }
    found
}
