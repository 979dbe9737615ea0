//! The interface, found by its hardware address.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_protocol::{Mac, Network};

use crate::sys::Interfaces;

/// How long the interface may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns loopback on.
pub(super) fn loopback() -> Result<(), String> {
    let done = Interfaces::open().and_then(|interfaces| interfaces.up("lo"));
    done.map_err(|why| format!("the loopback interface cannot be turned on: {why}"))
}

/// Gives the interface its address, and the guest its way out.
pub(super) fn set_up(network: &Network) -> Result<(), String> {
    let Network { mac, address, prefix, gateway, mtu } = network;
    let name = wait_for_interface(*mac)?;
    let told = |what: String| move |why: std::io::Error| format!("the interface {mac}: {what}: {why}");
    let interfaces = Interfaces::open().map_err(told("no socket".into()))?;
    if let Some(mtu) = mtu {
        interfaces.set_mtu(&name, *mtu).map_err(told(format!("packets of {mtu} bytes cannot be set")))?;
    }
    interfaces
        .set_address(&name, *address, *prefix)
        .map_err(told(format!("the address {address}/{prefix} cannot be set")))?;
    interfaces.up(&name).map_err(told("it cannot be turned on".into()))?;
    if let Some(gateway) = gateway {
        interfaces
            .default_route(*gateway)
            .map_err(told(format!("the way out by {gateway} cannot be set: is it in {address}/{prefix}?")))?;
    }
    Ok(())
}

fn wait_for_interface(mac: Mac) -> Result<String, String> {
    let started = Instant::now();
    loop {
        if let Some(name) = named(Path::new("/sys/class/net"), mac) {
            return Ok(name);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!(
                "no interface has the hardware address {mac}: the machine was started without it"
            ));
        }
        // Interfaces have no nodes in /dev that could be waited for, and drivers were loaded before.
        let soon = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = rustix::event::poll(&mut [], Some(&soon));
    }
}

fn named(class: &Path, mac: Mac) -> Option<String> {
    let entries = fs::read_dir(class).ok()?;
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.find(|name| {
        let address = fs::read_to_string(class.join(name).join("address"));
        address.is_ok_and(|text| text.parse() == Ok(mac))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_by_their_hardware_address() {
        let class = tempfile::tempdir().unwrap();
        for (name, mac) in [("lo", "00:00:00:00:00:00"), ("eth0", "02:c7:0a:00:00:05")] {
            fs::create_dir(class.path().join(name)).unwrap();
            fs::write(class.path().join(name).join("address"), format!("{mac}\n")).unwrap();
        }
        assert_eq!(named(class.path(), "02:C7:0A:00:00:05".parse().unwrap()).as_deref(), Some("eth0"));
        assert_eq!(named(class.path(), "02:c7:0a:00:00:06".parse().unwrap()), None);
    }
}
