//! The agent as the first process of real guests under QEMU.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod guest;
mod image;
mod life;
