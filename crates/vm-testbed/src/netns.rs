//! Network namespaces with names, into which tests put what they start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{BootError, tool};

/// A network namespace that goes with this, and all interfaces in it with that.
#[derive(Debug)]
pub struct Namespace(String);

impl Namespace {
    /// Makes one of a name that no other test uses.
    ///
    /// # Errors
    /// With what `ip` says: it takes root and iproute2.
    pub fn new() -> Result<Self, BootError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ctt{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        tool::run(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self(name))
    }

    /// Its name, as `ip netns` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// By which a process enters it (setns(2)).
    #[must_use]
    pub fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// What `ip` says in it.
    ///
    /// # Errors
    /// With what it says when it fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, BootError> {
        tool::run(Command::new("ip").args(["-n", &self.0]).args(arguments))
    }

    /// Makes a TAP device, which is a user's or everybody's who may open one.
    ///
    /// # Errors
    /// With what `ip` says, as when there is one of that name.
    pub fn add_tap(&self, tap: &str, uid: Option<u32>) -> Result<(), BootError> {
        let uid = uid.map(|uid| uid.to_string());
        let user = uid.iter().flat_map(|uid| ["user", uid]);
        let arguments: Vec<_> =
            ["tuntap", "add", "dev", tap, "mode", "tap"].into_iter().chain(user).collect();
        self.ip(&arguments).map(drop)
    }

    /// Whether somebody holds a TAP device; when nobody does, it is gone afterwards.
    #[must_use]
    pub fn is_held(&self, tap: &str) -> bool {
        self.ip(&["tuntap", "del", "dev", tap, "mode", "tap"]).is_err()
    }

    /// Whether there is an interface of this name.
    #[must_use]
    pub fn has(&self, interface: &str) -> bool {
        self.ip(&["link", "show", interface]).is_ok()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test that failed has said so already.
        drop(Command::new("ip").args(["netns", "del", &self.0]).stdin(Stdio::null()).output());
    }
}
