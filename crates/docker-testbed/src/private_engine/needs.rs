//! What a private engine needs of the machine and of who runs the tests, and how a test says that it is not there.

use std::io::{self, Write as _};
use std::path::Path;

/// The programs that it is made of, and the one that a test talks to it with.
const PROGRAMS: [&str; 6] = ["ip", "nsenter", "mount", "containerd", "dockerd", "docker"];

/// The capabilities (by their bit) without which there are no network namespaces and no mounts.
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Why no private engine can run here, if so.
pub(super) fn missing() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    reason(&status, installed)
}

fn reason(status: &str, installed: impl Fn(&str) -> bool) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let lacking: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect();
    if !lacking.is_empty() {
        return Some(format!("an engine of the test's own needs root ({} on Linux)", lacking.join(" and ")));
    }
    let lacking: Vec<&str> = PROGRAMS.into_iter().filter(|program| !installed(program)).collect();
    (!lacking.is_empty()).then(|| format!("an engine of the test's own needs {}", lacking.join(", ")))
}

/// Says what the test runner cannot: that the test of this thread was skipped. `cargo xtask test` reads it from the
/// file that the conformance suite reports to.
pub(super) fn tell(reason: &str) -> io::Result<()> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    writeln!(io::stderr().lock(), "SKIPPED {test}: {reason}")?;
    match std::env::var_os("CONFORMANCE_REPORT") {
        Some(path) => write(Path::new(&path), test, reason),
        None => Ok(()),
    }
}

fn write(path: &Path, test: &str, reason: &str) -> io::Result<()> {
    // One write of one short line: appending from several processes does not mix them.
    let line = format!("skipped\tdocker\t{test}\t{reason}\n");
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n";

    #[test]
    fn root_with_every_program_lacks_nothing() {
        assert_eq!(reason(ROOT, |_| true), None);
    }

    #[test]
    fn what_is_lacking_is_named() {
        let plain = ROOT.replace("000001ffffffffff", "0000000000000000");
        let text = reason(&plain, |_| true).unwrap();
        assert!(text.contains("needs root") && text.contains("CAP_NET_ADMIN and CAP_SYS_ADMIN"), "{text}");
        // Root of a container, whose engine gave it fourteen capabilities.
        let contained = ROOT.replace("000001ffffffffff", "00000000a80425fb");
        assert!(reason(&contained, |_| true).unwrap().contains("needs root"));
        // Not Linux.
        assert!(reason("", |_| true).unwrap().contains("on Linux"));
        assert_eq!(reason(ROOT, |name| name != "ip").unwrap(), "an engine of the test's own needs ip");
    }

    #[test]
    fn a_skip_is_a_line_of_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.tsv");
        write(&path, "engine::one", "needs ip").unwrap();
        write(&path, "two", "needs root").unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "skipped\tdocker\tengine::one\tneeds ip\nskipped\tdocker\ttwo\tneeds root\n");
    }
}
