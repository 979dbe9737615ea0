//! The first process of a microVM.

fn main() {}
