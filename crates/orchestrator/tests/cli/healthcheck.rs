//! The health check, by its exit code.

use crate::process::{Service, orchestrator, run};

#[test]
fn a_ready_service_is_healthy_whoever_asks() {
    let token = "sk-canary-of-the-health-check";
    let service = Service::start_with(&[], &[("ORCHESTRATOR_TOKEN", token)]);
    let done = service.run(&["healthcheck"]).code(0);
    assert!(done.out.starts_with("ready (sim: "), "{}", done.out);
    assert_eq!(service.run(&["healthcheck", "--output", "json"]).code(0).json()["status"], "ready");
    assert!(!service.log().contains(token), "{}", service.log());
}

#[test]
fn it_asks_where_the_configuration_says_that_the_service_listens() {
    let service = Service::start(&[]);
    let address = service.url.trim_start_matches("http://");
    let port = address.rsplit(':').next().unwrap();
    for listen in [address.to_owned(), format!("0.0.0.0:{port}")] {
        let mut command = orchestrator(service.directory.path());
        let asked = command.arg("healthcheck").env("ORCHESTRATOR_LISTEN", &listen);
        run(asked.env("ORCHESTRATOR_TOKEN", "sk-canary-t")).code(0);
    }
}

#[test]
fn a_service_without_its_engine_is_not_healthy() {
    let service = Service::start(&["--provider", "docker", "--docker-host", "unix:///nowhere/docker.sock"]);
    let done = service.run(&["healthcheck"]).code(5);
    assert!(done.err.contains("not ready: the docker engine does not answer"), "{}", done.err);
    assert!(done.err.contains("what to do: start the engine"), "{}", done.err);
    assert_eq!(done.out, "");
}

#[test]
fn no_service_and_a_wrong_configuration_are_not_healthy() {
    let directory = tempfile::tempdir().unwrap();
    let ask =
        |name: &str, value: &str| run(orchestrator(directory.path()).arg("healthcheck").env(name, value));
    let done = ask("ORCHESTRATOR_LISTEN", "127.0.0.1:1").code(5);
    assert!(done.err.contains("the service at http://127.0.0.1:1 does not answer"), "{}", done.err);
    ask("ORCHESTRATOR_LISTEN", "nonsense").code(2);
    ask("ORCHESTRATOR_URL", "nonsense").code(2);
    ask("ORCHESTRATOR_URI", "http://127.0.0.1:1").code(2);
}

#[test]
fn no_certificates_are_needed_as_in_an_image_from_scratch() {
    let service = Service::start(&[]);
    let mut command = service.command(&["healthcheck"]);
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    run(&mut command).code(0);
}
