//! A simulated provider: seats that answer over HTTP, without root, Docker or KVM, and with faults on request.
//!
//! [`World`] is the simulated infrastructure. It outlives any [`SimProvider`] made over it, as an engine outlives
//! the service, so that "the service restarts" is a second provider over the same world. The provider keeps
//! nothing of its own: everything it knows it reads from the world, step by step, and each step can be made slow,
//! made to fail or made to hang ([`Fault`]).
//!
//! ```text
//!   SimProvider ──one call per Step──► World ──► networks, volumes, containers, images
//!                                       │ faults, latency, "down"       │
//!                                                                      └─ one task per running seat (HTTP)
//! ```

mod image;
mod inventory;
mod names;
mod provider;
mod step;
mod world;

pub use image::SimImage;
pub use inventory::Inventory;
pub use names::{instance_name, network_name, volume_name};
pub use provider::SimProvider;
pub use step::Step;
pub use world::{DEFAULT_IMAGE, Fault, Gate, World, WorldOptions};
