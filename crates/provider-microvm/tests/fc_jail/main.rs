//! The real jailer and the real Firecracker under keepers, with a bare-metal guest.
#![cfg(target_os = "linux")]

mod bed;
mod full;
mod kills;
mod life;
mod network;
mod snapshot;
mod starter;
mod trouble;
