//! The real Firecracker and its jailer: programs of others, which a test is given the paths of.

use std::path::PathBuf;

use crate::BootError;

/// The variable that says that seats of tests are VMs of Firecracker, `jailed` or `plain`, which is without a jail; where it is not set, they are QEMU's.
pub const UNDER_FIRECRACKER: &str = "CLARATEACH_TEST_FIRECRACKER";

/// The Firecracker that the variable `FIRECRACKER_BIN` names.
///
/// # Errors
/// [`BootError::Missing`] when it names none, which says how to get one; [`BootError::Io`] when it names what is not there.
pub fn firecracker() -> Result<PathBuf, BootError> {
    named("FIRECRACKER_BIN", "firecracker")
}

/// The jailer that the variable `JAILER_BIN` names.
///
/// # Errors
/// As [`firecracker`].
pub fn jailer() -> Result<PathBuf, BootError> {
    named("JAILER_BIN", "jailer")
}

fn named(variable: &str, program: &str) -> Result<PathBuf, BootError> {
    let path = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    find(path, variable, program)
}

/// What was named and is not there is no reason to skip a test: somebody wanted it run.
fn find(path: Option<PathBuf>, variable: &str, program: &str) -> Result<PathBuf, BootError> {
    let path = path.ok_or_else(|| {
        BootError::Missing(format!(
            "no {program}: set {variable} to that of a release (https://github.com/firecracker-microvm/firecracker/releases, 1.16 or later) or to a static build of its source"
        ))
    })?;
    path.canonicalize().map_err(BootError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_named_is_missing() {
        let why = find(None, "JAILER_BIN", "jailer").unwrap_err();
        assert!(matches!(why, BootError::Missing(_)));
        assert!(why.to_string().starts_with("no jailer: set JAILER_BIN to that of a release"), "{why}");
        let why = find(Some("/no/such/jailer".into()), "JAILER_BIN", "jailer").unwrap_err();
        assert!(matches!(why, BootError::Io { .. }), "{why}");
        assert_eq!(
            find(Some("/bin/../bin/sh".into()), "X", "x").unwrap(),
            PathBuf::from("/bin/sh").canonicalize().unwrap()
        );
    }
}
