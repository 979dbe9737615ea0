//! Kernel modules of the first root: `/modules/*.ko` in the order of their names.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::console::say;

/// Loads them, and gives their room free. One that cannot be loaded is told: what needs it will say so again.
pub(super) fn load(folder: &Path) {
    for path in sorted(folder).unwrap_or_default() {
        let loaded = File::open(&path).and_then(|file| Ok(rustix::system::finit_module(file, c"", 0)?));
        match loaded {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => say(format_args!("the module {} cannot be loaded: {why}", path.display())),
            Ok(()) => {}
        }
        // The first root is in memory.
        drop(fs::remove_file(&path));
    }
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ko"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["010-b.ko", "002-a.ko", "boot.json", "100-c.ko"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = sorted(folder.path())
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["002-a.ko", "010-b.ko", "100-c.ko"]);
        assert!(sorted(&folder.path().join("none")).is_err());
    }
}
