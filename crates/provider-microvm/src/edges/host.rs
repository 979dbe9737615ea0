//! The host that this runs on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{BootFiles, Host};
use crate::nameservers;
use crate::vmm::users_from;

/// How long connections may take, one after the other. On the host's own bridges an open port answers within a millisecond, and a closed one refuses as
/// fast. What comes while a guest sets its address is lost, and TCP would say it again only after a second (RFC 6298, section 2).
const CONNECT: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(400)];

/// The host that this runs on.
#[derive(Debug)]
pub(crate) struct ThisHost {
    boot: PathBuf,
}

impl ThisHost {
    /// With the folder of the prepared kernel.
    pub(crate) fn new(boot: PathBuf) -> Self {
        Self { boot }
    }
}

#[async_trait]
impl Host for ThisHost {
    fn memory_mib(&self) -> io::Result<u64> {
        total_kib(&fs::read_to_string("/proc/meminfo")?)
            .map(|kib| kib / 1024)
            .ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let about = rustix::fs::statvfs(folder)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn users_from(&self, first: u32) -> io::Result<BTreeSet<u32>> {
        users_from(first)
    }

    fn nameservers(&self) -> Vec<IpAddr> {
        nameservers::of_host(Path::new("/"))
    }

    fn boot_files(&self) -> Result<BootFiles, String> {
        let boot = guest_boot::Boot::open(&self.boot).map_err(|why| why.to_string())?;
        Ok(BootFiles {
            kernel: boot.kernel(),
            initramfs: boot.initramfs(),
            version: boot.about().kernel.clone(),
        })
    }

    async fn answers(&self, address: Ipv4Addr, ports: &[u16]) -> Result<(), String> {
        let tries = ports.iter().map(|port| async move {
            let to = SocketAddr::new(address.into(), *port);
            for limit in CONNECT {
                match timeout(limit, TcpStream::connect(to)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => return Err(format!("port {port} does not answer ({})", error.kind())),
                    Err(_) => {}
                }
            }
            Err(format!("port {port} does not answer ({to} cannot be reached from this service)"))
        });
        futures_util::future::try_join_all(tries).await.map(drop)
    }
}

/// `MemTotal` of `/proc/meminfo` (proc(5)), in KiB.
fn total_kib(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read() {
        assert_eq!(total_kib("MemTotal:       24683068 kB\nMemFree: 1 kB\n"), Some(24_683_068));
        assert_eq!(total_kib("MemFree: 1 kB"), None);
        let host = ThisHost::new("/nowhere".into());
        assert!(host.memory_mib().unwrap() > 64);
        assert!(host.free_bytes(Path::new("/")).unwrap() > 0);
        assert_eq!(host.boot_id().unwrap().len(), 36);
    }

    #[tokio::test]
    async fn an_open_port_is_told_from_a_closed_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = ThisHost::new("/nowhere".into());
        assert_eq!(host.answers(Ipv4Addr::LOCALHOST, &[port]).await, Ok(()));
        drop(listener);
        let why = host.answers(Ipv4Addr::LOCALHOST, &[port]).await.unwrap_err();
        assert_eq!(why, format!("port {port} does not answer (connection refused)"));
    }
}
