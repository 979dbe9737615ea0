//! The interface, found by its hardware address, or given it: a machine that goes on from a snapshot has the address of the one that was saved.

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
    let found = wait_for_interface(*mac)?;
    let told = |what: String| move |why: std::io::Error| format!("the interface {mac}: {what}: {why}");
    let interfaces = Interfaces::open().map_err(told("no socket".into()))?;
    let name = match found {
        Found::Named(name) => name,
        Found::Only(name) => {
            let given = interfaces.set_hardware_address(&name, mac.bytes());
            given.map_err(told(format!("{name} cannot be given this address")))?;
            name
        }
    };
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

/// The interface that is meant.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The one with this address.
    Named(String),
    /// The only one of the machine, with another address.
    Only(String),
}

fn wait_for_interface(mac: Mac) -> Result<Found, String> {
    let started = Instant::now();
    loop {
        if let Some(found) = find(Path::new("/sys/class/net"), mac) {
            return Ok(found);
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

fn find(class: &Path, mac: Mac) -> Option<Found> {
    let entries = fs::read_dir(class).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // Loopback and its like have no device.
    let mut names: Vec<_> = names.filter(|name| class.join(name).join("device").exists()).collect();
    let has_it = |name: &String| {
        let address = fs::read_to_string(class.join(name).join("address"));
        address.is_ok_and(|text| text.parse() == Ok(mac))
    };
    match names.iter().position(has_it) {
        Some(at) => Some(Found::Named(names.swap_remove(at))),
        None if names.len() == 1 => names.pop().map(Found::Only),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_by_their_hardware_address() {
        let class = tempfile::tempdir().unwrap();
        let add = |name: &str, mac: &str, device: bool| {
            fs::create_dir(class.path().join(name)).unwrap();
            fs::write(class.path().join(name).join("address"), format!("{mac}\n")).unwrap();
            if device {
                fs::create_dir(class.path().join(name).join("device")).unwrap();
            }
        };
        let found = |mac: &str| find(class.path(), mac.parse().unwrap());
        add("lo", "00:00:00:00:00:00", false);
        assert_eq!(found("02:c7:0a:00:00:05"), None);
        add("eth0", "02:c7:0a:00:00:05", true);
        assert_eq!(found("02:C7:0A:00:00:05"), Some(Found::Named("eth0".into())));
        // Saved in another machine.
        assert_eq!(found("02:c7:0a:00:00:06"), Some(Found::Only("eth0".into())));
        add("eth1", "02:c7:0a:00:00:07", true);
        assert_eq!(found("02:c7:0a:00:00:07"), Some(Found::Named("eth1".into())));
        assert_eq!(found("02:c7:0a:00:00:06"), None, "which of the two is meant is not known");
    }
}
