//! Where the controllers are on this host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::write;

/// What limits a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Pids,
}

const ALL: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

impl Controller {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// One tree of cgroups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    root: PathBuf,
    /// Version 2.
    pub(super) unified: bool,
    /// Those of ours that are used here.
    pub(super) controllers: Vec<Controller>,
}

impl Hierarchy {
    pub(super) fn folder(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a cgroup and those above it, and with `inner` lets those below it have the controllers, which version 2 wants to be told.
    pub(super) fn make(&self, path: &Path, inner: bool) -> io::Result<()> {
        let above: Vec<_> = path.ancestors().collect();
        for (depth, folder) in above.iter().rev().enumerate() {
            let folder = self.folder(folder);
            if depth > 0 {
                match fs::create_dir(&folder) {
                    Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(super::named(&folder, &why));
                    }
                    _ => {}
                }
            }
            let last = depth + 1 == above.len();
            if self.unified && !self.controllers.is_empty() && (!last || inner) {
                self.hand_down(&folder)?;
            }
        }
        Ok(())
    }

    fn hand_down(&self, folder: &Path) -> io::Result<()> {
        let file = folder.join("cgroup.subtree_control");
        let already = fs::read_to_string(&file).map_err(|why| super::named(&file, &why))?;
        let missing: Vec<_> = self
            .controllers
            .iter()
            .map(|controller| controller.name())
            .filter(|name| !already.split_whitespace().any(|word| word == *name))
            .map(|name| format!("+{name}"))
            .collect();
        if missing.is_empty() { Ok(()) } else { write(&file, &missing.join(" ")) }
    }
}

/// The hierarchies to use, from the text of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
pub(super) fn find(mounts: &str, root: &Path) -> io::Result<Vec<Hierarchy>> {
    let mut left = ALL.to_vec();
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in mounts.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let Some(point) = mount.split(' ').nth(4) else { continue };
        let point = root.join(point.trim_start_matches('/'));
        let mut system = system.split(' ');
        match (system.next(), system.nth(1)) {
            (Some("cgroup"), Some(options)) => {
                let has = |name: &str| options.split(',').any(|option| option == name);
                let controllers: Vec<_> = left.iter().copied().filter(|one| has(one.name())).collect();
                left.retain(|one| !controllers.contains(one));
                if !controllers.is_empty() || has("name=systemd") {
                    found.push(Hierarchy { root: point, unified: false, controllers });
                }
            }
            (Some("cgroup2"), _) if unified.is_none() => unified = Some(point),
            _ => {}
        }
    }
    if let Some(point) = unified {
        let offered = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
        let has = |one: &Controller| offered.split_whitespace().any(|word| word == one.name());
        let controllers: Vec<_> = left.iter().copied().filter(has).collect();
        left.retain(|one| !controllers.contains(one));
        found.push(Hierarchy { root: point, unified: true, controllers });
    }
    if left.is_empty() {
        return Ok(found);
    }
    let names: Vec<_> = left.iter().map(|one| one.name()).collect();
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "this host has no cgroup controller for {}: mount cgroup version 2, or boot with it",
            names.join(", ")
        ),
    ))
}
