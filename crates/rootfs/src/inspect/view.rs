//! What the checks look at.

use super::environment::Environment;
use super::facts::Facts;
use super::lookup::{Found, Lost, Wish, absolute, barred, may, resolve};
use super::report::User;
use crate::{ImageConfig, Node, NodeId, NodeKind, RunConfig, Tree};

/// Everything that is known of an image while it is judged.
pub(super) struct View<'a> {
    pub(super) image: &'a ImageConfig,
    pub(super) tree: &'a Tree,
    pub(super) facts: &'a Facts,
    pub(super) environment: &'a Environment<'a>,
    /// The folders of `PATH`.
    pub(super) path: &'a [Found],
    pub(super) user: &'a User,
    /// The processor of the host, in Go's words.
    pub(super) host: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn config(&self) -> &'a RunConfig {
        &self.image.config
    }

    /// Where it starts.
    pub(super) fn working_dir(&self) -> &'a [u8] {
        working_dir(self.config()).as_bytes()
    }

    pub(super) fn node(&self, id: NodeId) -> &'a Node {
        self.tree.node(id)
    }

    /// What is at a path that begins at the root.
    pub(super) fn at(&self, path: impl AsRef<[u8]>) -> Result<Found, Lost> {
        resolve(self.tree, b"", path.as_ref())
    }

    /// Whether a file is at a path, or at the end of the links there.
    pub(super) fn file(&self, path: impl AsRef<[u8]>) -> Option<Found> {
        self.at(path).ok().filter(|found| is_file(self.node(found.id)))
    }

    /// Whether a folder is at a path, or at the end of the links there.
    pub(super) fn folder(&self, path: impl AsRef<[u8]>) -> Option<Found> {
        self.at(path).ok().filter(|found| self.tree.children(found.id).is_some())
    }

    /// The file that a name starts for the image's user.
    pub(super) fn program(&self, name: &[u8]) -> Result<Found, NotRun> {
        find_program(self.tree, self.path, self.config(), self.user, name)
    }
}

/// Where an image starts.
pub(super) fn working_dir(config: &RunConfig) -> &str {
    if config.working_dir.is_empty() { "/" } else { &config.working_dir }
}

pub(super) fn is_file(node: &Node) -> bool {
    matches!(node.kind, NodeKind::File(_))
}

/// Why a name starts nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotRun {
    #[error("it is empty")]
    Empty,
    #[error("no folder of PATH has it")]
    NotInPath,
    #[error("{0}")]
    Lost(Lost),
    #[error("{0} is a folder")]
    Folder(String),
    #[error("{0} is no file")]
    NoFile(String),
    #[error("{0} is not executable for its user (mode {1:04o}, owner {2}:{3})")]
    Mode(String, u16, u32, u32),
    #[error("a folder on the way to {0} may not be entered by its user")]
    Barred(String),
}

/// The folders of `PATH` that are there: each is looked up once, and not for each program.
pub(super) fn path(tree: &Tree, environment: &Environment<'_>, config: &RunConfig) -> Vec<Found> {
    let from = working_dir(config).as_bytes();
    let there = environment.path().filter_map(|folder| resolve(tree, from, folder).ok());
    there.filter(|found| tree.children(found.id).is_some()).collect()
}

/// The file that a name starts: with a slash in it, from the working directory on, else in the folders of `PATH`
/// (`execvp(3)`).
pub(super) fn find_program(
    tree: &Tree,
    path: &[Found],
    config: &RunConfig,
    user: &User,
    name: &[u8],
) -> Result<Found, NotRun> {
    let from = working_dir(config).as_bytes();
    if name.is_empty() {
        return Err(NotRun::Empty);
    }
    if name.contains(&b'/') {
        return runnable(tree, user, resolve(tree, from, name).map_err(NotRun::Lost)?);
    }
    let mut worst = NotRun::NotInPath;
    for folder in path {
        let found = match resolve(tree, &folder.path, name) {
            Ok(found) => {
                // Who may not enter what leads to the folder may not run what is in it.
                Found { entered: [folder.entered.as_slice(), &found.entered].concat(), ..found }
            }
            Err(Lost::Missing | Lost::NoFolder(_)) => continue,
            Err(lost) => {
                worst = NotRun::Lost(lost);
                continue;
            }
        };
        match runnable(tree, user, found) {
            Ok(found) => return Ok(found),
            // The search goes on, and what it ends with is told when there is nothing better.
            Err(why) => worst = why,
        }
    }
    Err(worst)
}

fn runnable(tree: &Tree, user: &User, found: Found) -> Result<Found, NotRun> {
    let node = tree.node(found.id);
    match node.kind {
        NodeKind::File(_) => {}
        NodeKind::Directory(_) => return Err(NotRun::Folder(found.shown())),
        _ => return Err(NotRun::NoFile(found.shown())),
    }
    if barred(tree, user, &found).is_some() {
        return Err(NotRun::Barred(found.shown()));
    }
    if !may(user, node, Wish::Execute) {
        let meta = &node.meta;
        return Err(NotRun::Mode(absolute(&found.path), meta.mode, meta.uid, meta.gid));
    }
    Ok(found)
}
