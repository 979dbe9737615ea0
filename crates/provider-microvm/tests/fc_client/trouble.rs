//! All that goes wrong between the client and a Firecracker: the socket, the answers, what is refused, and what ends the process.

mod answers;
mod load;
mod refused;
mod socket;

use std::time::Duration;

use provider_microvm::vmm::firecracker::{FirecrackerError, Limits};

/// Limits that are reached at once.
fn hasty() -> Limits {
    let short = Duration::from_millis(100);
    Limits { open: short, call: short, start: short, snapshot: short }
}

/// What an error says.
fn said<T>(result: Result<T, FirecrackerError>) -> String {
    result.map(drop).unwrap_err().to_string()
}
