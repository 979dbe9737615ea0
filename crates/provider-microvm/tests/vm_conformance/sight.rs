//! What an outsider sees of the host of a check.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use conformance::Inventory;
use provider_microvm::vmm::{MonitorKind, RunFolder};
use seats::{SeatRef, WorkshopId};

use crate::host::Host;

/// What a planted file says.
pub(crate) const FOREIGN: &str = "somebody else's";

impl Host {
    pub(crate) fn instance(&self) -> Result<hostnet::InstanceId> {
        let text = fs::read_to_string(self.folder.path().join("state/microvm/instance"))?;
        Ok(text.trim_end().parse()?)
    }

    /// Everything of a workshop, past the provider.
    pub(crate) fn inventory(&self, workshop: &WorkshopId) -> Result<Inventory> {
        let mut found = Inventory::default();
        let folder = self.workshop_folder(workshop);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !path.is_dir() {
                found.other.insert(path.display().to_string());
                continue;
            }
            seat(&path, &mut found)?;
        }
        for name in names(&self.folder.path().join("state/microvm/locks"))? {
            if name.starts_with(&format!("{workshop}.")) {
                found.other.insert(format!("lock {name}"));
            }
        }
        for entry in fs::read_dir(self.folder.path().join("state/images")).into_iter().flatten().flatten() {
            for pin in names(&entry.path().join("pins"))? {
                if pin.contains(&format!(".{workshop}.")) {
                    found.other.insert(format!("pin {pin}"));
                }
            }
        }
        let mark = format!("clarateach {} {workshop}", self.instance()?);
        for line in run("ip", &["-o", "link"])?.lines() {
            let name = line.split(": ").nth(1).unwrap_or_default().to_owned();
            match line.split_once("alias ") {
                Some((_, alias)) if alias.trim() == mark => drop(found.networks.insert(name)),
                Some((_, alias)) if alias.trim().starts_with(&format!("{mark}/")) => {
                    found.other.insert(name);
                }
                _ => {}
            }
        }
        for (pid, line) in processes()? {
            // As QEMU and as Firecracker name their guests; one workshop's name may begin with another's.
            let number =
                line.split_once(&format!("--id {workshop}-")).and_then(|(_, rest)| rest.split(' ').next());
            let is_number = number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
            if line.contains(&format!("guest={workshop}/")) || is_number {
                found.other.insert(format!("process {pid}"));
            }
        }
        Ok(found)
    }

    /// All texts that the state folder has, but for the disks, and all command lines and environments of processes.
    pub(crate) fn surface(&self) -> Result<String> {
        let mut text = String::new();
        read_all(&self.folder.path().join("state/microvm"), &mut text)?;
        for (pid, line) in processes()? {
            text.push_str(&line);
            if ["vmm-keeper", "qemu", "firecracker"].iter().any(|name| line.contains(name)) {
                text.push_str(&String::from_utf8_lossy(
                    &fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
                ));
            }
        }
        Ok(text)
    }

    /// The number of a seat's monitor.
    pub(crate) fn monitor_pid(&self, seat: &SeatRef) -> Result<u32> {
        let identity = RunFolder::new(self.seat_folder(seat).join("run")).identity()?;
        let identity = identity.context("the seat has no monitor")?;
        if identity.jail.is_none() {
            return Ok(identity.vmm.pid.try_into()?);
        }
        // That is the first process of its namespace, whose only child the monitor is.
        let first = identity.vmm.pid;
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        children.trim().parse().with_context(|| format!("process {first} has the children {children:?}"))
    }

    /// The memory that a seat's monitor gives its guest, in MiB: by its command line, or by its own word.
    pub(crate) fn memory_mib(&self, seat: &SeatRef) -> Result<u32> {
        let pid = self.monitor_pid(seat)?;
        let line = String::from_utf8(fs::read(format!("/proc/{pid}/cmdline"))?)?;
        let mut words = line.split('\0');
        if self.config.monitor == MonitorKind::Qemu {
            let memory =
                words.skip_while(|word| *word != "-m").nth(1).and_then(|text| text.strip_suffix('M'));
            return Ok(memory.context("the monitor was not told of a memory")?.parse()?);
        }
        let socket = words.find_map(|word| Some(word.strip_prefix("--api-sock=")?.to_owned()));
        let mut words = line.split('\0').skip_while(|word| *word != "--api-sock");
        let socket = socket.or_else(|| words.nth(1).map(str::to_owned)).context("it has no socket")?;
        // As the monitor itself would find it, wherever its root is.
        let socket = match socket.strip_prefix('/') {
            Some(path) => format!("/proc/{pid}/root/{path}"),
            None => format!("/proc/{pid}/cwd/{socket}"),
        };
        let said =
            run("curl", &["-sf", "-m", "60", "--unix-socket", &socket, "http://localhost/machine-config"])?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        Ok(said["mem_size_mib"].as_u64().context("the monitor tells no memory")?.try_into()?)
    }
}

/// A seat's folder. One without a record is somebody else's, unless something in it is plainly ours.
fn seat(path: &std::path::Path, found: &mut Inventory) -> Result<()> {
    let name = path.display().to_string();
    let files: BTreeSet<_> = names(path)?.into_iter().collect();
    let is_planted =
        |file: &str| fs::read(path.join(file)).is_ok_and(|text| text.starts_with(FOREIGN.as_bytes()));
    match fs::read_to_string(path.join("seat.json")) {
        Ok(text) => {
            let record: serde_json::Value = serde_json::from_str(&text)?;
            if record["phase"] != "kept" {
                found.instances.insert(name.clone());
            }
        }
        Err(_) if files.iter().all(|file| is_planted(file)) && !files.is_empty() => return Ok(()),
        Err(_) => {
            found.other.insert(name.clone());
        }
    }
    if files.contains("data.img") {
        found.volumes.insert(name);
    }
    Ok(())
}

fn names(folder: &std::path::Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn read_all(folder: &std::path::Path, text: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        text.push_str(&path.display().to_string());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            read_all(&path, text)?;
        } else if kind.is_file() && path.extension().is_none_or(|end| end != "img") {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()));
        }
    }
    Ok(())
}

/// Every process, with its command line.
fn processes() -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for name in names(std::path::Path::new("/proc"))? {
        let Ok(pid) = name.parse() else { continue };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
    }
    Ok(found)
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The share of a processor that the kernel gives a process's cgroup, in thousandths.
pub(crate) fn cpu_millis(pid: i64) -> Result<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let of = |root: &str| PathBuf::from(format!("{root}{path}"));
        if controllers.split(',').any(|controller| controller == "cpu") {
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            let mount = mounts.lines().find(|line| {
                line.contains(" - cgroup ")
                    && line
                        .rsplit(' ')
                        .next()
                        .is_some_and(|options| options.split(',').any(|one| one == "cpu"))
            });
            let mount = mount.and_then(|line| line.split(' ').nth(4)).context("cpu is mounted nowhere")?;
            let read =
                |file: &str| -> Result<u32> { Ok(fs::read_to_string(of(mount).join(file))?.trim().parse()?) };
            return Ok(read("cpu.cfs_quota_us")? * 1000 / read("cpu.cfs_period_us")?);
        }
        let unified = of("/sys/fs/cgroup").join("cpu.max");
        if controllers.is_empty() && unified.exists() {
            let text = fs::read_to_string(unified)?;
            let (quota, period) = text.trim().split_once(' ').context("cpu.max has one word")?;
            return Ok(quota.parse::<u32>()? * 1000 / period.parse::<u32>()?);
        }
    }
    anyhow::bail!("process {pid} is in no cgroup with a share of the processor")
}
