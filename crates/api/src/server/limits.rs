//! The bounds of a listener.

use std::time::Duration;

/// What one listener bears. Every bound is there so that no client can take what the others need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a request's head may take to arrive, and how long a connection may be idle between requests.
    pub header_timeout: Duration,
    /// In how long a client that does not keep up takes 64 KiB of an answer at least, before it loses its connection.
    pub write_timeout: Duration,
    /// The most header fields of a request; more is a 431.
    pub headers: usize,
    /// The most bytes of a request's head; more is a 431. At least 8192.
    pub header_bytes: usize,
    /// How long requests in progress may take to end after a shutdown began.
    pub grace: Duration,
}

impl Default for ServerLimits {
    /// 1024 connections, 10 seconds for at most 64 header fields in 32 KiB, 30 seconds for 64 KiB of
    /// an answer, 30 seconds of grace.
    fn default() -> Self {
        Self {
            connections: 1024,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            headers: 64,
            header_bytes: 32 * 1024,
            grace: Duration::from_secs(30),
        }
    }
}
