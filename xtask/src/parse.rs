//! What test runners print, turned into counts.

pub(crate) mod conformance;
pub(crate) mod junit;
pub(crate) mod libtest;
pub(crate) mod unittest;
pub(crate) mod vitest;
