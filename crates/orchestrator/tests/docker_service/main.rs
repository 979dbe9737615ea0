//! The service as its operators run it, over a real Docker engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod chaos;
mod container;
mod crowd;
mod disk;
mod engine;
mod guard;
#[path = "../cli/process.rs"]
mod process;
mod secrets;

use docker_testbed::{Host, IMAGE, PrivateEngine, TestWorkshop};
use process::Service;

/// Flags of a service over the testbed, in a corner of the address pool away from any real service.
const FLAGS: [&str; 13] = [
    "serve",
    "--provider=docker",
    "--listen=127.0.0.1:0",
    "--log-format=json",
    "--docker-pool=10.218.0.0/16",
    "--docker-metadata-guard=off",
    "--seats-image",
    IMAGE,
    "--seats-memory-mib=64",
    "--seats-pids=64",
    "--seats-cpus=0.5",
    "--seats-start-timeout=60s",
    "--seats-stop-grace=2s",
];

/// An HTTP client; see the one of the command line for the provider.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A workshop id that no other test of this run uses.
fn workshop() -> TestWorkshop {
    TestWorkshop::new('s')
}

/// A service on this machine's engine.
fn serve(host: &Host, more: &[&str]) -> Service {
    let directory = tempfile::tempdir().unwrap();
    let mut command = process::orchestrator(directory.path());
    command.args(FLAGS).arg("--docker-host").arg(&host.socket).args(more);
    Service::launch(directory, command)
}

/// A service on a test's own engine, in that engine's network.
fn serve_inside(engine: &PrivateEngine, more: &[&str]) -> Service {
    let directory = tempfile::tempdir().unwrap();
    let mut command = engine.inside(env!("CARGO_BIN_EXE_orchestrator"));
    command.current_dir(directory.path());
    command.args(FLAGS).arg("--docker-host").arg(engine.socket()).args(more);
    Service::launch(directory, command)
}

/// A client command in the network of a test's own engine; its exit code and standard output.
fn run_inside(engine: &PrivateEngine, service: &Service, arguments: &[&str]) -> process::Done {
    let mut command = engine.inside(env!("CARGO_BIN_EXE_orchestrator"));
    command.current_dir(service.directory.path()).args(arguments).env("ORCHESTRATOR_URL", &service.url);
    process::run(&mut command)
}
