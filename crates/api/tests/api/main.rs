//! The API over a simulated provider, from the request to the bytes of the answer.

// A test may stop at the first surprise, also in its helpers, and reads better without borrowing every literal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

mod auth;
mod bad_input;
mod class;
mod fuzz;
mod openapi;
mod seats;
mod server;
mod service;
mod system;
mod trouble;
