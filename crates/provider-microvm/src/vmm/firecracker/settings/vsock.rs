//! The stream sockets between guest and host.

use std::path::PathBuf;

use serde::Serialize;

use super::{Check, SettingError, bound};

/// A vsock device (docs/vsock.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vsock {
    /// The guest's number, from 3 to 2³² - 2; a guest does not see those of others, so all may have the same.
    pub guest_cid: u32,
    /// The unix socket through which the host reaches the guest; Firecracker makes it. There must be nothing yet.
    pub uds_path: PathBuf,
}

impl Check for Vsock {
    fn check(&self) -> Result<(), SettingError> {
        // 0 to 2 are reserved, and the last one is any of them (vsock(7)).
        bound((3..u32::MAX).contains(&self.guest_cid), "the number of a vsock device is 3 to 4294967294")
    }
}
