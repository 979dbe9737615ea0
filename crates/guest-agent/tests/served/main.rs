//! The agent in an ordinary process, driven by the host's client over a unix socket.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod agent;
mod exec;
mod files;
mod link;
mod requests;
mod workload;
