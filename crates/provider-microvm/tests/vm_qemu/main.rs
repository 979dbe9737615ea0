//! Real guests that QEMU runs under keepers.
#![cfg(target_os = "linux")]

mod bounds;
mod guest;
mod life;
mod nested;
mod network;
mod snapshot;
mod starter;
mod trouble;
