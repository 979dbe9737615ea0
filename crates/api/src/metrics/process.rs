//! The process itself, from `/proc` (proc(5)); nothing where there is none.

/// What the kernel says about this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) cpu_seconds: f64,
    /// Seconds since the epoch.
    pub(super) started: f64,
    pub(super) open_files: u64,
}

#[cfg(not(target_os = "linux"))]
impl Process {
    pub(super) fn read() -> Option<Self> {
        None
    }
}

#[cfg(target_os = "linux")]
impl Process {
    pub(super) fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let kernel = std::fs::read_to_string("/proc/stat").ok()?;
        let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let units =
            Units { ticks: rustix::param::clock_ticks_per_second(), page: rustix::param::page_size() as u64 };
        parse(&stat, &kernel, units, open_files)
    }
}

#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
struct Units {
    ticks: u64,
    page: u64,
}

#[cfg(target_os = "linux")]
#[allow(clippy::cast_precision_loss)] // seconds in a float are what Prometheus has
fn parse(stat: &str, kernel: &str, units: Units, open_files: u64) -> Option<Process> {
    // The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    // proc(5) counts from 1, and the first two fields are gone.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / units.ticks as f64;
    let booted: u64 = kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Process {
        resident_bytes: field(24)? * units.page,
        cpu_seconds: seconds(field(14)? + field(15)?),
        started: booted as f64 + seconds(field(22)?),
        open_files,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_confuses_nobody() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1000 10000 25 184";
        let units = Units { ticks: 100, page: 4096 };
        let process = parse(stat, "cpu 1 2\nbtime 1700000000\n", units, 9).unwrap();
        assert_eq!(
            process,
            Process { resident_bytes: 102_400, cpu_seconds: 2.0, started: 1_700_000_010.0, open_files: 9 }
        );
        assert_eq!(parse("42 (x) S 1", "btime 1", units, 0), None);
    }

    #[test]
    fn this_process_is_alive() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 100_000 && process.open_files > 2);
    }
}
