//! The engine killed and started again under a running service.

use std::time::Duration;

use docker_testbed::{Host, IMAGE, PrivateEngine};
use serde_json::Value;

use crate::process::Service;
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

fn running(listed: &Value) -> usize {
    let seats = listed["seats"].as_array();
    seats.map_or(0, |seats| seats.iter().filter(|seat| seat["status"] == "running").count())
}

/// The status of an address of the service, asked from inside its network.
fn status(engine: &PrivateEngine, service: &Service, path: &str) -> String {
    let url = format!("{}{path}", service.url);
    let output =
        engine.inside("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_outlive_the_engine_and_the_service_finds_it_again_by_itself() {
    let Some(mut engine) = engine().await else { return };
    let service = serve_inside(&engine, &[]);
    let workshop = workshop();
    let list = ["--output", "json", "class", "list", workshop.as_str()];
    run_inside(&engine, &service, &["class", "up", workshop.as_str(), "--seats", "3"]).code(0);
    assert_eq!(status(&engine, &service, "/readyz"), "200");

    engine.kill().unwrap();
    let down = run_inside(&engine, &service, &list).code(5);
    assert!(down.err.contains("start the engine"), "{down:?}");
    assert_eq!(status(&engine, &service, "/readyz"), "503");
    assert_eq!(status(&engine, &service, "/livez"), "200");
    let refused = run_inside(&engine, &service, &["seat", "create", workshop.as_str(), "4"]);
    assert_eq!(refused.code, 5, "{refused:?}");

    engine.restart().await.unwrap();
    assert_eq!(status(&engine, &service, "/readyz"), "200");
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
