//! The large images of the corpus: compared, mounted and booted; and the smallest one booted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod corpus_shared;

use corpus_shared::{boots, compares, mounts};

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn scratch_boots() {
    boots("clarateach-corpus:scratch", false);
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn node_modules_compare() {
    compares("clarateach-corpus:node");
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn node_modules_mount() {
    mounts("clarateach-corpus:node");
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn node_modules_boot() {
    boots("clarateach-corpus:node", false);
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn debian_compares() {
    compares("clarateach-corpus:debian");
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn debian_mounts() {
    mounts("clarateach-corpus:debian");
}

#[test]
#[ignore = "corpus tier: cargo xtask test corpus"]
fn debian_boots() {
    boots("clarateach-corpus:debian", true);
}
