//! What is looked at, by what it is about.

pub(super) mod arguments;
pub(super) mod file_system;
pub(super) mod people;
pub(super) mod platform;
pub(super) mod settings;
pub(super) mod system;
