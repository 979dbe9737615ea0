//! What is left of seats: an outsider's look at the whole namespace, the host's cgroups and mounts, and the state folder.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

/// A host of seats: where they leave something, when they do.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The folder that holds state folders.
    pub folder: &'a Path,
    /// The cgroup that holds those of seats.
    pub cgroup: &'a str,
}

/// A process of this namespace.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its command line.
    pub line: String,
}

/// All processes in this test's network namespace but the test itself.
///
/// # Panics
/// When `/proc` cannot be read.
#[must_use]
pub fn processes() -> Vec<Process> {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(pid) = Pid::from_raw(pid).filter(|pid| *pid != rustix::process::getpid()) else { continue };
        // One that ends meanwhile, or that nobody waited for yet, has none.
        if fs::read_link(entry.path().join("ns/net")).is_ok_and(|namespace| namespace == own) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(Process { pid, line: String::from_utf8_lossy(&line).replace('\0', " ") });
        }
    }
    found
}

/// Whether a process was told of a folder when it was started: by its arguments, or by its environment. It holds from the start of its program, before that
/// has opened anything.
#[must_use]
pub fn told_of(process: &Path, folder: &Path) -> bool {
    let folder = folder.as_os_str().as_bytes();
    ["cmdline", "environ"].iter().any(|what| {
        let said = fs::read(process.join(what)).unwrap_or_default();
        said.windows(folder.len().max(1)).any(|part| part == folder)
    })
}

/// The cgroups of a name, in every hierarchy, with all below them.
#[must_use]
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for root in roots.chain([PathBuf::from("/sys/fs/cgroup")]) {
        below(&root.join(name), &mut found);
    }
    found
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    if !folder.is_dir() || found.iter().any(|known| known == folder) {
        return;
    }
    found.push(folder.to_owned());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        below(&entry.path(), found);
    }
}

impl Ground<'_> {
    /// Everything that seats have on this host, a line each, sorted; nothing when there are none. Processes of these numbers are not
    /// counted.
    ///
    /// # Panics
    /// When the host cannot be looked at.
    #[must_use]
    pub fn left(&self, but: &[u32]) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for process in processes() {
            let pid = process.pid.as_raw_nonzero().get().cast_unsigned();
            // What a service asks for a moment in the background, and of which it is told below what came of it.
            let is_asked = ["nft ", "iptables "].iter().any(|program| process.line.starts_with(program));
            if !but.contains(&pid) && !is_asked {
                left.insert(format!("process {pid}: {}", process.line));
            }
        }
        for (what, program, arguments) in [
            ("interface", "ip", &["-o", "link"][..]),
            ("address", "ip", &["-o", "-4", "address"]),
            ("route", "ip", &["-o", "-4", "route", "show", "table", "all"]),
            ("neighbour", "ip", &["neighbour", "show", "nud", "all"]),
            ("forwarding entry", "bridge", &["fdb", "show"]),
        ] {
            let text = said(program, arguments);
            let lines = text.lines().filter(|line| !line.contains("lo: ") && !line.contains(" lo"));
            left.extend(lines.map(|line| format!("{what} {line}")));
        }
        left.extend(filter().into_iter().map(|element| format!("packet filter {element}")));
        let folder = self.folder.to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // A state folder may be on a disk of its own.
        let own = format!(" {folder}/state ");
        let mounts = mounts.lines().filter(|line| line.contains(folder) && !line.contains(&own));
        left.extend(mounts.map(|line| format!("mount {line}")));
        for group in cgroups(self.cgroup) {
            // The one for all seats stays with the host.
            if !group.ends_with(self.cgroup) {
                left.insert(format!("cgroup {}", group.display()));
            }
        }
        for state in fs::read_dir(self.folder).unwrap().flatten().map(|entry| entry.path()) {
            files(&state.join("microvm/workshops"), &mut left);
            files(&state.join("microvm/locks"), &mut left);
            for image in fs::read_dir(state.join("images")).into_iter().flatten().flatten() {
                files(&image.path().join("pins"), &mut left);
            }
        }
        // Made by the first who waits for it, and no seat's.
        left.retain(|line| !line.ends_with("microvm/locks/.ledger"));
        left
    }

    /// Ends all processes of this namespace but the test itself, and removes the cgroups: for a test that failed.
    #[expect(clippy::disallowed_methods, reason = "a test that failed may have no runtime any more")]
    pub fn raze(&self) {
        for process in processes() {
            let _ = rustix::process::kill_process(process.pid, rustix::process::Signal::KILL);
        }
        for folder in cgroups(self.cgroup).into_iter().rev() {
            // Its last process may be still on its way out.
            for _ in 0..50 {
                if fs::remove_dir(&folder).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        }
    }
}

/// What a program says that must succeed.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All elements of the sets and maps of the packet filter.
fn filter() -> Vec<String> {
    let text = said("nft", &["-j", "-s", "list", "ruleset"]);
    let ruleset: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    for object in ruleset["nftables"].as_array().unwrap() {
        for kind in ["set", "map"] {
            let (name, elements) = (&object[kind]["name"], &object[kind]["elem"]);
            for element in elements.as_array().into_iter().flatten() {
                found.push(format!("{name} {element}"));
            }
        }
    }
    found
}

/// Files, and folders that are empty.
fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(format!("file {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), found);
        }
    }
}
