//! What a test takes of the machine, and how it says that it is not there.

use std::io::{self, Write as _};

use crate::machine::QEMU;
use crate::paths::is_installed;
use crate::{BootError, Kernel};

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// QEMU and a kernel to boot.
    Guest,
    /// QEMU and a kernel for a guest that is itself a host of guests ([`crate::Outer`]).
    Outer,
    /// The guest agent as a static program.
    Agent,
    /// To make network namespaces, interfaces, cgroups, and processes of other users.
    Root,
    /// A Firecracker, named by `FIRECRACKER_BIN`.
    Firecracker,
    /// Its jailer, named by `JAILER_BIN`.
    Jailer,
    /// The reference workspace image, named by `CLARATEACH_WORKSPACE`.
    Workspace,
    /// The means to make a [`crate::BareMetal`] guest.
    BareMetal,
    /// Hardware virtualization, or what stands for it: `/dev/kvm`, which this process may use.
    Kvm,
}

/// Capabilities (by their bit, capabilities(7)) without which there are no processes of other users, no interfaces and no namespaces.
const CAPABILITIES: [(&str, u32); 3] = [("CAP_SETUID", 7), ("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Whether this machine has what the test of this thread takes. When it has not, the test is told as skipped, and is to end.
///
/// # Panics
/// When what is there is damaged, or the report cannot be written.
#[must_use]
pub fn can_run(needs: &[Need]) -> bool {
    let thread = std::thread::current();
    has(thread.name().unwrap_or("?"), needs)
}

/// As [`can_run`], for the test of that name.
pub(crate) fn has(test: &str, needs: &[Need]) -> bool {
    match needs.iter().find_map(|need| need.missing()) {
        None => true,
        Some(why) => {
            tell(test, &why);
            false
        }
    }
}

/// Tells that the test of this thread is skipped, and why.
///
/// # Panics
/// When the report cannot be written.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    tell(thread.name().unwrap_or("?"), reason);
}

/// libtest has no word for it: `cargo xtask test` reads it from the file that the conformance suite reports to.
#[expect(clippy::panic, reason = "it is the body of a test")]
fn tell(test: &str, reason: &str) {
    let said = write(test, &reason.replace(['\n', '\t'], " "));
    said.unwrap_or_else(|why| panic!("{test} is skipped ({reason}), and that cannot be told: {why}"));
}

fn write(test: &str, reason: &str) -> io::Result<()> {
    // Not by a macro: libtest would keep what a test says that passes. And at once: others say something as well.
    io::stderr().lock().write_all(format!("SKIPPED {test}: {reason}\n").as_bytes())?;
    let Some(path) = std::env::var_os("CONFORMANCE_REPORT") else { return Ok(()) };
    // One write of one short line: appending from several processes does not mix them.
    let line = format!("skipped\tvm\t{test}\t{reason}\n");
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Guest if !is_installed(QEMU) => Some(format!("no {QEMU}: install qemu-system-x86")),
            Self::Guest => absent(Kernel::find()),
            Self::Outer => absent(crate::Outer::find()),
            Self::Agent => absent(crate::agent()),
            Self::Firecracker => absent(crate::firecracker()),
            Self::Jailer => absent(crate::jailer()),
            Self::Workspace => absent(crate::workspace()),
            Self::BareMetal => crate::BareMetal::missing(),
            Self::Kvm => std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .err()
                .map(|why| format!("/dev/kvm: {why}")),
            Self::Root => powerless(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()),
        }
    }
}

/// Why something was not found. What is there and damaged is no reason to skip a test.
#[expect(clippy::panic, reason = "it is the body of a test")]
fn absent<T>(found: Result<T, BootError>) -> Option<String> {
    match found {
        Ok(_) => None,
        Err(BootError::Missing(why)) => Some(why),
        Err(BootError::Io { path, why }) if why.kind() == io::ErrorKind::PermissionDenied => {
            Some(format!("{}: {why}", path.display()))
        }
        Err(why) => panic!("{why}"),
    }
}

fn powerless(status: &str) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let lacking: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect();
    (!lacking.is_empty()).then(|| format!("it needs root ({})", lacking.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_that_lack_are_named() {
        assert_eq!(powerless("Name:\tx\nCapEff:\t000001ffffffffff\n"), None);
        assert_eq!(
            powerless("CapEff:\t00000000a80425fb\n").unwrap(),
            "it needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN)"
        );
        assert_eq!(powerless("").unwrap(), "it needs root (CAP_SETUID, CAP_NET_ADMIN, CAP_SYS_ADMIN)");
    }

    #[test]
    fn only_what_is_not_there_is_skipped() {
        let missing = absent::<()>(Err(BootError::Missing("no kernel".into())));
        assert_eq!(missing.as_deref(), Some("no kernel"));
        let denied = BootError::io("/root/x")(io::ErrorKind::PermissionDenied.into());
        assert_eq!(absent::<()>(Err(denied)).unwrap(), "/root/x: permission denied");
        let damaged = BootError::io("/x")(io::ErrorKind::InvalidData.into());
        let absent = std::panic::AssertUnwindSafe(|| absent::<()>(Err(damaged)));
        assert!(std::panic::catch_unwind(absent).is_err());
    }
}
