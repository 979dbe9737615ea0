//! The small images of the corpus and the reference workspace: compared, mounted and booted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod corpus_shared;

use corpus_shared::{boots, compares, mounts};

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn scratch_compares() {
    compares("clarateach-corpus:scratch");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn scratch_mounts() {
    mounts("clarateach-corpus:scratch");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn twenty_layers_compare() {
    compares("clarateach-corpus:twenty");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn twenty_layers_mount() {
    mounts("clarateach-corpus:twenty");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn twenty_layers_boot() {
    boots("clarateach-corpus:twenty", true);
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn the_workspace_compares() {
    compares("clarateach-workspace:latest");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn the_workspace_mounts() {
    mounts("clarateach-workspace:latest");
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn the_workspace_boots() {
    boots("clarateach-workspace:latest", true);
}
