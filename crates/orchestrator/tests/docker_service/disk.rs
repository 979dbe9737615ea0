//! The engine's disk full under a running class.

use std::process::Command;

use docker_testbed::{Host, IMAGE, PrivateEngine};

use crate::engine::{all_answer, running, status};
use crate::{run_inside, serve_inside, workshop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn seats_that_live_are_listed_and_answer_while_the_disk_is_full() {
    let machine = Host::of_this_machine().await.unwrap();
    let Some(engine) = PrivateEngine::start(Some(64)).await.unwrap() else { return };
    engine.load(&machine.socket, IMAGE).unwrap();
    let host = Host::at(&engine.socket()).await.unwrap();
    let service = serve_inside(&engine, &[]);
    let workshop = workshop();
    let list = ["--output", "json", "class", "list", workshop.as_str()];
    let create = ["seat", "create", workshop.as_str(), "3"];
    run_inside(&engine, &service, &["class", "up", workshop.as_str(), "--seats", "2"]).code(0);
    let before = run_inside(&engine, &service, &list).code(0).json();
    assert_eq!(running(&before), 2, "{before}");

    let filler = engine.data().join("filler");
    let of = format!("of={}", filler.display());
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=4096", &of]).output().unwrap();
    assert!(!filled.status.success(), "the disk did not fill up");
    let refused = run_inside(&engine, &service, &create);
    assert!(refused.err.contains("the host has no room for seat"), "{refused:?}");
    assert!(refused.err.contains("what to do: free disk space"), "{refused:?}");
    assert_eq!(refused.code, 5, "{refused:?}");
    // What lives goes on: listed as before, and answering.
    let meanwhile = run_inside(&engine, &service, &list).code(0).json();
    assert_eq!(meanwhile, before);
    assert!(all_answer(&engine, &meanwhile), "{meanwhile}");
    run_inside(&engine, &service, &["seat", "show", workshop.as_str(), "1"]).code(0);
    assert_eq!(status(&engine, &service.at("/readyz")), "200");

    std::fs::remove_file(&filler).unwrap();
    run_inside(&engine, &service, &create).code(0);
    let after = run_inside(&engine, &service, &list).code(0).json();
    assert_eq!(running(&after), 3, "{after}");
    assert!(all_answer(&engine, &after), "{after}");
    run_inside(&engine, &service, &["class", "down", workshop.as_str()]).code(0);
    let remains = host.remains(&workshop).await.unwrap();
    assert!(remains.is_empty(), "{remains}");
}
