//! Real guests that QEMU runs under keepers.
#![cfg(target_os = "linux")]

mod guest;
mod life;
