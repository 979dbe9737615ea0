//! The HTTP contract: routes, payloads, problem details, OpenAPI, auth.
//!
//! [`router`] is the whole API over a [`lifecycle::Lifecycle`]; [`serve`] runs it on a listener. Everything that
//! comes in is parsed by hand ([`mod@input`]), so that all mistakes of a request are reported at once and none of
//! them quotes a secret; everything that goes wrong is one shape of problem details ([`mod@problem`]).

#![allow(rustdoc::private_intra_doc_links)]

mod app;
mod config;
mod guard;
mod input;
mod metrics;
mod observe;
mod openapi;
mod problem;
mod reply;
mod request;
mod routes;
mod server;

pub use app::router;
pub use config::ApiConfig;
pub use metrics::Metrics;
pub use openapi::document as openapi;
pub use server::{ServerLimits, serve};
