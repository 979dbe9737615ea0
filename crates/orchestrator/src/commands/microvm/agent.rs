//! Where the guest agent is.

use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// Its file's name beside this program.
const NAME: &str = "guest-agent";
/// Where packages put it (Filesystem Hierarchy Standard 3.0, section 4.7).
const INSTALLED: &str = "/usr/libexec/clarateach/guest-agent";

/// The one that is named, or the first that is there.
pub(super) fn find(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(NAME)));
    let places: Vec<_> = beside.into_iter().chain([PathBuf::from(INSTALLED)]).collect();
    among(named, &places)
}

fn among(named: Option<PathBuf>, places: &[PathBuf]) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<_> = places.iter().map(|path: &PathBuf| Path::display(path).to_string()).collect();
        Failure::new(Exit::NotFound, format!("no guest agent is at {}", looked.join(" or ")))
            .remedy("build it (cargo xtask agent) and name it by --agent, or install it there")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_goes_first_then_the_nearest() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("near"), folder.path().join("far"));
        let places = [near.clone(), far.clone()];
        let none = among(None, &places).unwrap_err();
        assert_eq!(none.exit, Exit::NotFound);
        assert!(none.message.contains("near or /"), "{}", none.message);
        std::fs::write(&far, "").unwrap();
        assert_eq!(among(None, &places), Ok(far));
        std::fs::write(&near, "").unwrap();
        assert_eq!(among(None, &places), Ok(near));
        assert_eq!(among(Some("x".into()), &places), Ok("x".into()));
    }
}
