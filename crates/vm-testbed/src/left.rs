//! What is left of seats: an outsider's look at the whole namespace, the host's cgroups and mounts, and the state folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use serde_json::Value;

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
    /// Everything that seats and services have on this host, a line each, sorted: where there are no seats, the tables of services that were
    /// here ([`is_of_tables`]). Processes of these numbers are not counted.
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
            // What the kernel's own announcement of a group leaves comes and goes when it likes.
            let lines = lines.filter(|line| !(what == "neighbour" && is_multicast(line)));
            left.extend(lines.map(|line| format!("{what} {line}")));
        }
        left.extend(filter().into_iter().map(|object| format!("packet filter {object}")));
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
            for snapshot in fs::read_dir(state.join("microvm/snapshots")).into_iter().flatten().flatten() {
                // One that is whole serves seats that are to come; one that is not finished has more behind its name.
                if snapshot.path().extension().is_some() {
                    left.insert(format!("snapshot {}", snapshot.path().display()));
                }
            }
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

/// Whether a line of [`Ground::left`] is of the tables of a service, with their chains, rules and sets, but of no element: they stay with the host.
#[must_use]
pub fn is_of_tables(line: &str) -> bool {
    let kinds = ["table", "chain", "rule", "set"];
    let mut words = line.strip_prefix("packet filter ").unwrap_or_default().split(' ');
    words.next().is_some_and(|kind| kinds.contains(&kind))
        && words.nth(1).is_some_and(|table| table.starts_with("clarateach_"))
}

/// Whether a line of `ip neighbour` is of a group of hosts: the kernel makes one when an interface joins, and drops it a while later.
fn is_multicast(line: &str) -> bool {
    let address = line.split(' ').next().unwrap_or_default().parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.is_multicast())
}

/// Everything that the packet filter has.
fn filter() -> Vec<String> {
    let text = said("nft", &["-j", "-s", "list", "ruleset"]);
    objects(&serde_json::from_str(&text).unwrap())
}

/// What `nft -j -s list ruleset` says, an object a line: its kind, family, table and place in it, and then what it is. Rules have their place in their chain;
/// the elements of sets and maps have lines of their own. Without what is another each time that the same is made, or changes by itself.
fn objects(ruleset: &Value) -> Vec<String> {
    let (mut found, mut rules) = (Vec::new(), BTreeMap::new());
    for object in ruleset["nftables"].as_array().unwrap() {
        let (kind, about) = object.as_object().unwrap().iter().next().unwrap();
        let word = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        let [family, table, name, chain] = ["family", "table", "name", "chain"].map(word);
        let mut about = about.as_object().unwrap().clone();
        about.remove("handle");
        match kind.as_str() {
            "metainfo" => continue,
            "table" => {
                found.push(format!("table {family} {name}"));
                continue;
            }
            "rule" => {
                let number: &mut u32 =
                    rules.entry((family.clone(), table.clone(), chain.clone())).or_default();
                *number += 1;
                found.push(format!("rule {family} {table} {chain} {number} {}", Value::Object(about)));
                continue;
            }
            "counter" => drop((about.remove("packets"), about.remove("bytes"))),
            _ => {}
        }
        let elements = about.remove("elem");
        found.push(format!("{kind} {family} {table} {name} {}", Value::Object(about)));
        for element in elements.iter().filter_map(Value::as_array).flatten() {
            found.push(format!("element {family} {table} {name} {element}"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(rules: &[&str], handle: u32, elements: &[&str]) -> Value {
        let mut objects = vec![
            json!({"metainfo": {"version": "1.0.6"}}),
            json!({"table": {"family": "inet", "name": "clarateach_0", "handle": handle}}),
            json!({"set": {"family": "inet", "name": "seats", "table": "clarateach_0", "type": "ipv4_addr", "handle": handle, "elem": elements}}),
            json!({"chain": {"family": "inet", "table": "clarateach_0", "name": "forward", "handle": handle, "hook": "forward"}}),
        ];
        objects.extend(rules.iter().map(|what| {
            json!({"rule": {"family": "inet", "table": "clarateach_0", "chain": "forward", "handle": handle,
                "expr": [{"counter": null}, {*what: null}]}})
        }));
        json!({ "nftables": objects })
    }

    #[test]
    fn a_filter_is_told_object_by_object() {
        let whole = objects(&table(&["drop", "accept", "drop"], 7, &["10.214.0.2"]));
        assert_eq!(whole.len(), 7, "{whole:?}");
        assert_eq!(whole[0], "table inet clarateach_0");
        assert_eq!(whole[2], "element inet clarateach_0 seats \"10.214.0.2\"");
        // The same once more, under other numbers.
        assert_eq!(objects(&table(&["drop", "accept", "drop"], 9, &["10.214.0.2"])), whole);
        let others = [
            table(&["drop", "accept"], 7, &["10.214.0.2"]),
            table(&["drop", "drop", "accept"], 7, &["10.214.0.2"]),
            table(&["drop", "accept", "drop"], 7, &["10.214.0.3"]),
            table(&["drop", "accept", "drop"], 7, &[]),
        ];
        for other in others {
            assert_ne!(objects(&other), whole, "{other}");
        }
    }

    #[test]
    fn tables_of_a_service_are_told_from_what_its_seats_have() {
        let lines = objects(&table(&["drop"], 7, &["10.214.0.2"]));
        let stay: Vec<_> = lines.iter().map(|line| is_of_tables(&format!("packet filter {line}"))).collect();
        assert_eq!(stay, [true, true, false, true, true], "{lines:?}");
        for other in ["packet filter table ip filter", "interface 3: clarateach_0", "packet filter table"] {
            assert!(!is_of_tables(other), "{other}");
        }
    }

    #[test]
    fn a_neighbour_that_is_a_group_is_told_from_a_host() {
        for (line, is) in [
            ("224.0.0.22 dev up0 lladdr 01:00:5e:00:00:16 NOARP", true),
            ("ff02::16 dev up0 lladdr 33:33:00:00:00:16 NOARP", true),
            ("10.214.0.2 dev ct0 lladdr 02:fc:0a:d6:00:02 PERMANENT", false),
            ("", false),
        ] {
            assert_eq!(is_multicast(line), is, "{line}");
        }
    }
}
