//! The folder that a path leads to, made where it is not there.
//!
//! An image may have a link where a disk is to be mounted, such as `/workspace` to a folder of somebody's home. A container engine follows it
//! inside of the container and makes what is missing, and an image that runs there runs here. Links are read as the seat's own programs
//! read them: an absolute one begins at the seat's root, and nothing leads above that.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// How many links may be on the way, as for the kernel (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Gives the folder itself, by a path without links below `root`. Fails where something else is in its place.
pub(super) fn make(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let (mut place, mut links) = (root.to_owned(), 0);
    // The next one last.
    let mut ahead = parts(path);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            if place != root {
                place.pop();
            }
            continue;
        }
        let next = place.join(part);
        match fs::symlink_metadata(&next) {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    root.clone_into(&mut place);
                }
                ahead.extend(parts(&target));
                continue;
            }
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(Errno::NOTDIR.into()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => fs::create_dir(&next)?,
            Err(why) => return Err(why),
        }
        place = next;
    }
    Ok(place)
}

/// What a path is made of, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev();
    let steps = steps.filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_folders_below_the_root() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("home/learner/work")).unwrap();
        for (link, target) in [
            ("absolute", "/home/learner/work"),
            ("relative", "home/./learner/work"),
            ("twice", "home/back/absolute"),
            ("home/back", ".."),
            ("above", "../../../../home/learner/../learner/work"),
            ("dangling", "/made/for/it"),
            ("way", "/other"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, folder) in [
            ("/absolute", "home/learner/work"),
            ("/relative", "home/learner/work"),
            ("/twice", "home/learner/work"),
            ("/above", "home/learner/work"),
            ("/home/learner/work", "home/learner/work"),
            ("/dangling", "made/for/it"),
            ("/way/through", "other/through"),
            ("/no/link/at/all", "no/link/at/all"),
        ] {
            assert_eq!(make(&root, Path::new(path)).unwrap(), root.join(folder), "{path}");
            assert!(fs::symlink_metadata(root.join(folder)).unwrap().is_dir(), "{path}");
        }
        let beside: Vec<_> = fs::read_dir(outer.path()).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");
    }

    #[test]
    fn what_leads_to_no_folder_fails() {
        let root = tempfile::tempdir().unwrap();
        symlink("/around", root.path().join("around")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        symlink("file", root.path().join("to-file")).unwrap();
        for (path, errno) in [
            ("/around", Errno::LOOP),
            ("/file", Errno::NOTDIR),
            ("/to-file", Errno::NOTDIR),
            ("/file/below", Errno::NOTDIR),
        ] {
            let why = make(root.path(), Path::new(path)).unwrap_err();
            assert_eq!(why.raw_os_error(), Some(errno.raw_os_error()), "{path}");
        }
    }
}
