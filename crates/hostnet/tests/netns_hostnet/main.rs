//! The host's network with real frames: each test in a network namespace of its own, which stands for the host, with more of
//! them for guests and for the internet. The machine's own network is never touched.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and passes on what its other process says"
)]

mod bandwidth;
mod cni;
mod filter;
mod foreign;
mod lifecycle;
mod support;
mod traffic;
mod trouble;
