//! Seats as microVMs.

#[cfg(target_os = "linux")]
pub mod vmm;
