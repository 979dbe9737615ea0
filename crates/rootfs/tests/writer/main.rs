//! File systems as programs that are not ours see them: one table of cases and any trees, for every writer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod item;
mod seen;

mod any;
mod bounds;
mod cases;
mod memory;
mod trouble;
