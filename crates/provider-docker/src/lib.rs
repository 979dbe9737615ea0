//! Seats as containers of a Docker engine, over the Engine API (1.41 and newer), never the command line.
//!
//! Labels are the only state ([`names`]): a service that starts anew, or the shell scripts beside it, see the
//! same seats. What this process remembers ([`watch`], [`image`], [`network`]) spares the engine questions and
//! may be wrong without harm.

mod compare;
mod config;
mod create;
mod destroy;
mod doctor;
mod engine;
mod guard;
mod image;
mod last_words;
mod late;
mod names;
mod network;
mod payload;
mod probe;
mod provider;
mod settle;
mod view;
mod volume;
mod watch;

pub use config::{ConfigError, DockerConfig, DockerHost, GuardMode};
pub use engine::connect;
pub use provider::DockerProvider;
