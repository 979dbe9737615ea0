//! The client of Firecracker's API: every request against the API's description, and every trouble against a fake that keeps Firecracker's rules.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "they are the bodies of tests, which may stop at the first surprise"
)]

mod bench;
mod description;
mod fake;
mod life;
mod monitor;
mod order;
mod requests;
mod same;
mod server;
mod settings;
mod trouble;
