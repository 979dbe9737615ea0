//! Any bytes as one of the documents that make an image.
#![no_main]
#![allow(dead_code)]

#[path = "../../tests/hostile/archive.rs"]
mod archive;
#[path = "../../tests/fuzz_bodies/mod.rs"]
mod fuzz_bodies;
#[path = "../../tests/hostile/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::documents(bytes));
