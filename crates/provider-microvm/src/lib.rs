//! Seats as microVMs.

pub mod vmm;
