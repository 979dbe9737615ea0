//! What the kernel counts for a process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::UnixStream;

/// The time that some processes had on a processor, user and system. What their children had is theirs.
pub(super) fn cpu_time(ids: &[i32]) -> Result<Duration> {
    cpu_time_of(ids, 2)
}

/// The same with the children that they have waited for.
pub(super) fn cpu_time_with_children(ids: &[i32]) -> Result<Duration> {
    cpu_time_of(ids, 4)
}

fn cpu_time_of(ids: &[i32], fields: usize) -> Result<Duration> {
    let mut ticks = 0;
    for id in ids {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))
            .with_context(|| format!("process {id} has ended while it was measured"))?;
        ticks +=
            ticks_in(&stat, fields).with_context(|| format!("/proc/{id}/stat is not as expected: {stat}"))?;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The sum of the first so many of utime, stime, cutime and cstime (`proc_pid_stat(5)`, from field 14); the name before
/// them may contain anything.
fn ticks_in(stat: &str, wanted: usize) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    (0..wanted).try_fold(0, |sum, _| Some(sum + fields.next()?.parse::<u64>().ok()?))
}

/// Resident memory now and at its highest, in MiB.
pub(super) fn resident_mib(id: i32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let of = |field| kib_in(&status, field).with_context(|| format!("/proc/{id}/status has no {field}"));
    Ok((mib(of("VmRSS")?), mib(of("VmHWM")?)))
}

/// Memory that new programs could have without swapping, and all there is, in MiB.
pub(super) fn memory_mib() -> Result<(f64, f64)> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let of = |field| kib_in(&info, field).with_context(|| format!("/proc/meminfo has no {field}"));
    Ok((mib(of("MemAvailable")?), mib(of("MemTotal")?)))
}

fn kib_in(table: &str, field: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The engine behind a socket: its dockerd, and the containerd that it works with. Other engines may run beside it.
pub(super) async fn engine(socket: &Path) -> Result<Vec<i32>> {
    let peer = UnixStream::connect(socket).await?.peer_cred()?.pid().unwrap_or_default();
    let engines = named("dockerd")?;
    let supervisors = named("containerd")?;
    // A socket that systemd handed over is systemd's; then there is one engine for the whole machine.
    let mut found = if engines.contains(&peer) { vec![peer] } else { engines.clone() };
    let own: Vec<i32> = supervisors.iter().copied().filter(|id| parent(*id) == Some(peer)).collect();
    let shared =
        supervisors.into_iter().filter(|id| parent(*id).is_none_or(|parent| !engines.contains(&parent)));
    found.extend(if own.is_empty() { shared.collect() } else { own });
    Ok(found)
}

fn parent(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The processes of this name.
fn named(wanted: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        if name.trim_end() == wanted {
            found.push(id);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        let stat = "42 (a) b ) S 1 2 3 4 5 6 7 8 9 10 77 23 5 6 20 0 1 0 100 1 1";
        assert_eq!(ticks_in(stat, 2), Some(100));
        assert_eq!(ticks_in(stat, 4), Some(111));
        assert_eq!(ticks_in("42 (a) S 1 2", 2), None);
        assert_eq!(kib_in("VmRSSx:\t1 kB\nVmRSS:\t  2048 kB\n", "VmRSS"), Some(2048));
        assert_eq!(kib_in("VmRSS:\t  2048 kB\n", "VmHWM"), None);
    }

    #[test]
    fn this_process_is_somewhere() {
        let own = std::process::id().cast_signed();
        assert!(resident_mib(own).unwrap().0 > 0.0);
        cpu_time(&[own]).unwrap();
        assert!(cpu_time(&[i32::MAX]).is_err());
        assert!(parent(own).is_some());
    }
}
