//! What one walk over the whole tree finds.

use std::collections::{BTreeSet, HashSet};

use super::facts::Head;
use super::finding::{Finding, Listed, counted};
use super::lookup::absolute;
use super::script;
use super::start::loader;
use super::view::{View, is_file};
use crate::path::shown;
use crate::{Node, NodeId, NodeKind};

/// What is a large file, in bytes.
const LARGE: u64 = 1 << 30;
/// The most programs in the folders of `PATH` that are looked at.
const MOST_PROGRAMS: usize = 10_000;
/// Folders that everybody may write to, and should.
const SHARED: [&[u8]; 5] = [b"tmp", b"var/tmp", b"dev", b"dev/shm", b"run/lock"];
/// Files that hold a secret, by the end of their path.
const SECRET_FILES: [&[u8]; 10] = [
    b"/.ssh/id_rsa",
    b"/.ssh/id_ecdsa",
    b"/.ssh/id_ed25519",
    b"/.ssh/id_dsa",
    b"/.git-credentials",
    b"/.netrc",
    b"/.aws/credentials",
    b"/.docker/config.json",
    b"/.kube/config",
    b"/.config/gh/hosts.yml",
];

/// The tree in numbers and lists.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) content_bytes: u64,
    pub(super) inodes: u64,
    setuid: Listed,
    capabilities: Listed,
    writable: Listed,
    names: Listed,
    devices: Listed,
    large: Listed,
    foreign: Listed,
    secret_files: Listed,
    /// Programs in the folders of `PATH` that cannot start.
    broken: Listed,
    /// How many programs in the folders of `PATH` there are beyond those that are looked at.
    unchecked: usize,
    lost_and_found: bool,
}

impl Survey {
    pub(super) fn of(view: &View<'_>) -> Self {
        let mut survey = Self::default();
        let mut seen = HashSet::new();
        view.tree.walk(|path, id, node| {
            if seen.insert(id) {
                survey.inode(view, path, id, node);
            }
            // Of names there are as many as links.
            let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            if std::str::from_utf8(name).is_err() {
                survey.names.add(|| absolute(path));
            }
        });
        survey.lost_and_found = view.folder("/lost+found").is_some();
        survey.programs(view);
        survey
    }

    fn inode(&mut self, view: &View<'_>, path: &[u8], id: NodeId, node: &Node) {
        self.inodes += 1;
        let mode = node.meta.mode;
        let shared = SHARED.contains(&path);
        match &node.kind {
            NodeKind::File(content) => {
                self.content_bytes = self.content_bytes.saturating_add(content.size);
                if mode & 0o6000 != 0 && mode & 0o111 != 0 {
                    self.setuid.add(|| absolute(path));
                }
                if mode & 0o002 != 0 {
                    self.writable.add(|| absolute(path));
                }
                if content.size >= LARGE {
                    self.large.add(|| format!("{} ({} MiB)", absolute(path), content.size >> 20));
                }
                if content.size > 0 && SECRET_FILES.iter().any(|end| ends_with(path, end)) {
                    self.secret_files.add(|| absolute(path));
                }
                let xattrs = node.meta.xattrs.iter().flat_map(|xattrs| xattrs.iter());
                if xattrs.into_iter().any(|(name, _)| **name == *b"security.capability") {
                    self.capabilities.add(|| absolute(path));
                }
                if is_foreign(view, id) {
                    self.foreign.add(|| absolute(path));
                }
            }
            NodeKind::Directory(_) if mode & 0o1002 == 0o002 && !shared => {
                self.writable.add(|| format!("{}/", absolute(path)));
            }
            NodeKind::CharDevice(_) | NodeKind::BlockDevice(_) => self.devices.add(|| absolute(path)),
            _ => {}
        }
    }

    /// Looks at the programs that a learner can call by name.
    fn programs(&mut self, view: &View<'_>) {
        let mut folders = BTreeSet::new();
        let mut programs = BTreeSet::new();
        for folder in view.path {
            if !folders.insert(folder.id) {
                continue;
            }
            for name in view.tree.children(folder.id).into_iter().flatten().map(|(name, _)| name) {
                let path = [b"/", folder.path.as_slice(), b"/", name].concat();
                let Some(found) = view.file(&path) else { continue };
                if view.node(found.id).meta.mode & 0o111 == 0 || !programs.insert(found.id) {
                    continue;
                }
                if programs.len() > MOST_PROGRAMS {
                    self.unchecked += 1;
                } else if let Some(why) = broken(view, found.id) {
                    self.broken.add(|| format!("{} ({why})", shown(&path)));
                }
            }
        }
    }

    pub(super) fn findings(&self, view: &View<'_>) -> Vec<Finding> {
        let mut findings = vec![self.executables(), self.foreign(view)];
        let left_out = view.facts.left_out + self.unchecked;
        if left_out > 0 {
            let detail = format!("{left_out} more programs and libraries were not looked at");
            findings.push(Finding::warning("left_out", detail, "try what matters of them in a seat"));
        }
        findings.extend([self.setuid(), self.capabilities(), self.writable(), self.secret_files()]);
        findings.extend([self.devices(), self.names(), self.large(), self.lost_and_found()]);
        findings
    }

    fn executables(&self) -> Finding {
        if self.broken.is_empty() {
            return Finding::ok(
                "executables",
                "every program in the folders of PATH has its loader or interpreter",
            );
        }
        let detail =
            format!("{} of PATH cannot start: {}", counted(self.broken.count, "program"), self.broken.few());
        let remedy = "install what they need, or remove them";
        Finding::warning("executables", detail, remedy).paths(&self.broken)
    }

    fn foreign(&self, view: &View<'_>) -> Finding {
        let ours = architecture(view);
        if self.foreign.is_empty() {
            return Finding::ok("foreign_executables", format!("every program and library is for {ours}"));
        }
        let files = counted(self.foreign.count, "file");
        let detail = format!("{files} for another processor than {ours}: {}", self.foreign.few());
        Finding::warning(
            "foreign_executables",
            detail,
            "remove them, or install builds for the image's processor",
        )
        .paths(&self.foreign)
    }

    fn setuid(&self) -> Finding {
        if self.setuid.is_empty() {
            return Finding::ok("setuid", "no program runs as another user than who starts it");
        }
        let detail = format!(
            "{} as another user or group: {}",
            if self.setuid.count == 1 {
                "1 program runs".into()
            } else {
                format!("{} programs run", self.setuid.count)
            },
            self.setuid.few()
        );
        let remedy =
            "chmod u-s,g-s those that learners do not need; containers ignore the bits (no-new-privileges)";
        Finding::warning("setuid", detail, remedy).paths(&self.setuid)
    }

    fn capabilities(&self) -> Finding {
        if self.capabilities.is_empty() {
            return Finding::ok("capabilities", "no program has capabilities of its own");
        }
        let detail = format!(
            "{} with capabilities of its own: {}",
            counted(self.capabilities.count, "program"),
            self.capabilities.few()
        );
        let remedy = "setcap -r those that learners do not need; containers ignore them (no-new-privileges)";
        Finding::warning("capabilities", detail, remedy).paths(&self.capabilities)
    }

    fn writable(&self) -> Finding {
        if self.writable.is_empty() {
            return Finding::ok("world_writable", "nothing outside /tmp that everybody may change");
        }
        let detail = format!("everybody may change {}", self.writable.few());
        Finding::warning("world_writable", detail, "chmod o-w them, or chmod +t the folders")
            .paths(&self.writable)
    }

    fn secret_files(&self) -> Finding {
        if self.secret_files.is_empty() {
            return Finding::ok("secret_files", "no keys or logins where programs keep them");
        }
        let detail = format!("everybody with the image can read {}", self.secret_files.few());
        let remedy = "build the image without them, and replace them where they are valid";
        Finding::warning("secret_files", detail, remedy).paths(&self.secret_files)
    }

    fn devices(&self) -> Finding {
        if self.devices.is_empty() {
            return Finding::ok("devices", "none in the image; the guest has its own /dev");
        }
        let detail = format!("{}: {}", counted(self.devices.count, "device"), self.devices.few());
        let outside = self.devices.first.iter().any(|path| !path.starts_with("/dev/"));
        if !outside {
            return Finding::ok("devices", format!("{detail}; the guest has its own /dev"))
                .paths(&self.devices);
        }
        Finding::warning("devices", detail, "remove those outside /dev").paths(&self.devices)
    }

    fn names(&self) -> Finding {
        if self.names.is_empty() {
            return Finding::ok("names", "all of them are UTF-8");
        }
        let detail = format!("{} not UTF-8: {}", counted(self.names.count, "name"), self.names.few());
        Finding::warning("names", detail, "rename them; editors and the files service show them wrongly")
            .paths(&self.names)
    }

    fn large(&self) -> Finding {
        if self.large.is_empty() {
            return Finding::ok("large_files", "none of 1 GiB or more");
        }
        let detail = format!("{}: {}", counted(self.large.count, "file"), self.large.few());
        Finding::warning(
            "large_files",
            detail,
            "bring data to seats in another way where it is not for every class",
        )
        .paths(&self.large)
    }

    fn lost_and_found(&self) -> Finding {
        let detail = if self.lost_and_found {
            "the image has /lost+found; it becomes that of the file system"
        } else {
            "an empty /lost+found is added, as ext4 wants it"
        };
        Finding::ok("lost_and_found", detail)
    }
}

/// The processor that programs should be for.
fn architecture<'a>(view: &View<'a>) -> &'a str {
    if view.image.architecture.is_empty() { view.host } else { &view.image.architecture }
}

fn is_foreign(view: &View<'_>, id: NodeId) -> bool {
    let elf = view.facts.elf(id).filter(|elf| elf.is_program());
    elf.is_some_and(|elf| elf.machine.architecture() != Some(architecture(view)))
}

/// What a program that is called by name lacks.
fn broken(view: &View<'_>, id: NodeId) -> Option<String> {
    debug_assert!(is_file(view.node(id)), "only files are programs");
    match view.facts.head(id)? {
        Head::Elf(elf) => {
            let path = elf.interpreter.as_deref()?;
            let why = loader(view, path, elf.machine).err()?;
            Some(format!("loader {}: {why}", shown(path)))
        }
        Head::Script(line) => script::interpreter(view, line).err().map(|why| why.to_string()),
        Head::Damaged => Some("damaged".into()),
        Head::Other => None,
    }
}

fn ends_with(path: &[u8], end: &[u8]) -> bool {
    path.ends_with(end) || path == &end[1..]
}
