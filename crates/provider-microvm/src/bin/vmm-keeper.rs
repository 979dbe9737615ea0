//! The keeper of a VM as a program of its own, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return provider_microvm::vmm::keeper::run();
    #[cfg(not(target_os = "linux"))]
    return ExitCode::FAILURE;
}
