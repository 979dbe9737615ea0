//! The reference workspace image, which `images/workspace/build.sh` builds.

use std::path::PathBuf;

use crate::BootError;

/// How the image is called in its archive.
pub const WORKSPACE: &str = "clarateach-workspace:latest";
const VARIABLE: &str = "CLARATEACH_WORKSPACE";

/// The archive of the reference image that the variable `CLARATEACH_WORKSPACE` names.
///
/// # Errors
/// [`BootError::Missing`] when it names none, which says how to get one; [`BootError::Io`] when it names what is not there.
pub fn workspace() -> Result<PathBuf, BootError> {
    find(std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from))
}

/// What was named and is not there is no reason to skip a test: somebody wanted it run.
fn find(path: Option<PathBuf>) -> Result<PathBuf, BootError> {
    let path = path.ok_or_else(|| {
        BootError::Missing(format!(
            "no reference image: set {VARIABLE} to what images/workspace/build.sh --archive FILE wrote"
        ))
    })?;
    path.canonicalize().map_err(BootError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_named_is_missing() {
        let why = find(None).unwrap_err();
        assert!(matches!(why, BootError::Missing(_)));
        assert!(why.to_string().contains("build.sh --archive"), "{why}");
        let why = find(Some("/no/such/image.tar".into())).unwrap_err();
        assert!(matches!(why, BootError::Io { .. }), "{why}");
    }
}
