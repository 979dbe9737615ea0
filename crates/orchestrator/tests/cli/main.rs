//! The binary as its users meet it: real processes, real HTTP, simulated seats.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod class;
mod config;
mod doctor;
mod healthcheck;
mod microvm;
mod process;
mod rootfs;
mod seat;
mod secrets;
mod service;
