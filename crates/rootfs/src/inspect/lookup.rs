//! Paths of an image as its own programs would see them (`path_resolution(7)`).

use std::collections::VecDeque;

use super::report::User;
use crate::path::{MAX_PATH, shown};
use crate::{Node, NodeId, NodeKind, Tree};

/// How many symbolic links may be on one path (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// The most bytes of names on one path, with those of the links on it: more than any honest path has, and little enough
/// that thousands of hostile ones are looked up in no time.
const MOST_NAMES: usize = 2 * MAX_PATH;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: NodeId,
    /// Where it really is: names joined by slashes, none at either end.
    pub(super) path: Vec<u8>,
    /// The folders that were entered on the way.
    pub(super) entered: Vec<NodeId>,
}

impl Found {
    /// Its path for a message.
    pub(super) fn shown(&self) -> String {
        absolute(&self.path)
    }
}

/// A path of the tree for a message.
pub(super) fn absolute(path: &[u8]) -> String {
    format!("/{}", shown(path))
}

/// Why nothing is at a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("it is not there")]
    Missing,
    #[error("it is a symbolic link to {0}, which is not there")]
    Dangling(String),
    #[error("{0} is no folder")]
    NoFolder(String),
    #[error("there are more than {MOST_LINKS} symbolic links on the way to it")]
    Links,
    #[error("its name is too long")]
    Long,
}

/// Finds what is at a path, every symbolic link followed inside the image. `from` is where a path begins that does not
/// begin with a slash.
pub(super) fn resolve(tree: &Tree, from: &[u8], path: &[u8]) -> Result<Found, Lost> {
    let mut todo: VecDeque<Box<[u8]>> = VecDeque::new();
    if !path.starts_with(b"/") {
        todo.extend(names(from));
    }
    todo.extend(names(path));
    // The folders from the root to where we are, each with the length of the path so far.
    let mut folders = vec![(Tree::ROOT, 0)];
    let mut at = Vec::new();
    let mut entered = Vec::new();
    let (mut links, mut steps) = (0, 0_usize);
    // The link that the next names come from, and how many names come after those.
    let mut link: Option<(String, usize)> = None;
    while let Some(name) = todo.pop_front() {
        steps += name.len() + 1;
        link = link.filter(|&(_, after)| todo.len() >= after);
        if steps > MOST_NAMES || at.len() > MAX_PATH {
            return Err(Lost::Long);
        }
        let &(folder, len) = folders.last().unwrap_or(&(Tree::ROOT, 0));
        at.truncate(len);
        if tree.children(folder).is_none() {
            return Err(Lost::NoFolder(absolute(&at)));
        }
        if entered.last() != Some(&folder) {
            entered.push(folder);
        }
        if &*name == b".." {
            if folders.len() > 1 {
                folders.pop();
            }
            continue;
        }
        let Some(id) = tree.child(folder, &name) else {
            return Err(link.map_or(Lost::Missing, |(target, _)| Lost::Dangling(target)));
        };
        if let NodeKind::Symlink(target) = &tree.node(id).kind {
            links += 1;
            if links > MOST_LINKS {
                return Err(Lost::Links);
            }
            link = Some((shown(target), todo.len()));
            if target.starts_with(b"/") {
                folders.truncate(1);
            }
            for name in names(target).rev() {
                todo.push_front(name);
            }
            continue;
        }
        if !at.is_empty() {
            at.push(b'/');
        }
        at.extend_from_slice(&name);
        folders.push((id, at.len()));
    }
    let &(id, len) = folders.last().unwrap_or(&(Tree::ROOT, 0));
    at.truncate(len);
    let must_be_folder = path.ends_with(b"/") || path.ends_with(b"/.");
    if must_be_folder && tree.children(id).is_none() {
        return Err(Lost::NoFolder(absolute(&at)));
    }
    Ok(Found { id, path: at, entered })
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Box<[u8]>> {
    path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(Into::into)
}

/// What somebody wants to do with a file or folder; one bit of its mode, as for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run a file, or go into a folder.
    Execute = 1,
    /// Change it.
    Write = 2,
    /// Read it.
    Read = 4,
}

/// Whether a user may, by the mode alone; access control lists are not looked at. Who is not known may what others may.
pub(super) fn may(user: &User, node: &Node, wish: Wish) -> bool {
    let bit = wish as u16;
    let mode = node.meta.mode;
    if user.uid == Some(0) {
        // Root may run what anybody may run (capabilities(7), CAP_DAC_OVERRIDE).
        let runs = mode & 0o111 != 0 || matches!(node.kind, NodeKind::Directory(_));
        return wish != Wish::Execute || runs;
    }
    let shift = if user.uid == Some(node.meta.uid) {
        6
    } else if user.gid == Some(node.meta.gid) || user.groups.contains(&node.meta.gid) {
        3
    } else {
        0
    };
    mode >> shift & bit != 0
}

/// The first folder on the way that a user may not enter.
pub(super) fn barred(tree: &Tree, user: &User, found: &Found) -> Option<NodeId> {
    found.entered.iter().copied().find(|&id| !may(user, tree.node(id), Wish::Execute))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::merge::apply;
    use crate::{Content, Entry, EntryKind, EntryPath, Limits, Meta};

    fn tree() -> Tree {
        let file = EntryKind::File(Content { layer: 0, entry: 0, size: 1, data: None });
        let link = |target: &str| EntryKind::Symlink(target.as_bytes().into());
        let entries: Vec<_> = [
            ("usr/bin/sh", 0o755, file),
            ("bin", 0o777, link("usr/bin")),
            ("usr/bin/bash", 0o777, link("/bin/sh")),
            ("usr/bin/up", 0o777, link("../../../../bin/./sh")),
            ("usr/bin/lost", 0o777, link("/opt/sh")),
            ("usr/bin/a", 0o777, link("b")),
            ("usr/bin/b", 0o777, link("a")),
            ("secret", 0o700, EntryKind::Directory),
            ("secret/sh", 0o777, link("../bin/sh")),
        ]
        .into_iter()
        .map(|(path, mode, kind)| Entry {
            path: EntryPath::parse(path.as_bytes()).unwrap(),
            meta: Meta { mode, ..Meta::default() },
            kind,
        })
        .collect();
        let mut tree = Tree::new();
        apply(&mut tree, &entries, &Limits::default()).unwrap();
        tree
    }

    #[rstest]
    #[case("/bin/sh")]
    #[case("bash")]
    #[case("/bin/up")]
    #[case("../../../bin/../bin/sh")]
    fn links_are_followed_inside_the_image(#[case] path: &str) {
        let found = resolve(&tree(), b"usr/bin", path.as_bytes()).unwrap();
        assert_eq!(found.shown(), "/usr/bin/sh");
    }

    #[rstest]
    #[case("/bin/zsh", Lost::Missing)]
    #[case("/bin/lost", Lost::Dangling("/opt/sh".into()))]
    #[case("/bin/a", Lost::Links)]
    #[case("/bin/sh/x", Lost::NoFolder("/usr/bin/sh".into()))]
    #[case("/bin/sh/", Lost::NoFolder("/usr/bin/sh".into()))]
    #[case("/bin/sh/..", Lost::NoFolder("/usr/bin/sh".into()))]
    fn what_is_not_there_says_why(#[case] path: &str, #[case] why: Lost) {
        assert_eq!(resolve(&tree(), b"", path.as_bytes()), Err(why));
    }

    #[test]
    fn folders_bar_the_way() {
        let tree = tree();
        let found = resolve(&tree, b"", b"/secret/sh").unwrap();
        let user = User { uid: Some(1000), gid: Some(1000), ..User::default() };
        assert_eq!(barred(&tree, &user, &found), tree.child(Tree::ROOT, b"secret"));
        let root = User { uid: Some(0), ..User::default() };
        assert_eq!(barred(&tree, &root, &found), None);
    }

    #[rstest]
    #[case(0o700, 0, 0, true)]
    #[case(0o600, 0, 0, false)]
    #[case(0o700, 1, 1, false)]
    #[case(0o070, 1, 5, true)]
    #[case(0o707, 1, 5, false)]
    #[case(0o001, 1, 1, true)]
    #[case(0o077, 7, 5, false)]
    fn modes_say_who_may(#[case] mode: u16, #[case] uid: u32, #[case] gid: u32, #[case] allowed: bool) {
        let meta = Meta { mode, uid: 7, gid: 5, ..Meta::default() };
        let kind = NodeKind::File(Content { layer: 0, entry: 0, size: 0, data: None });
        let user = User { uid: Some(uid), gid: Some(gid), ..User::default() };
        assert_eq!(may(&user, &Node { meta, kind }, Wish::Execute), allowed);
    }
}
