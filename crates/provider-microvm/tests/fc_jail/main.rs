//! The real jailer and the real Firecracker in jails that are staged here, with a bare-metal guest.
#![cfg(target_os = "linux")]

mod jailed;
mod life;
mod trouble;
