//! The files of `/etc` that tell a seat who it is. The root is the seat's own by now, so its links lead nowhere else.

use std::fs;
use std::io;
use std::path::Path;

use guest_protocol::GuestConfig;

/// Writes them.
pub(super) fn write(config: &GuestConfig) -> Result<(), String> {
    file("/etc/hostname", &format!("{}\n", config.hostname))?;
    file("/etc/hosts", &hosts(config))?;
    file("/etc/machine-id", &format!("{}\n", config.machine_id.to_ascii_lowercase()))?;
    match resolver(config) {
        Some(text) => file("/etc/resolv.conf", &text),
        None => Ok(()),
    }
}

/// One in place of whatever is there: a link would lead to the file of somebody else.
fn file(path: &str, text: &str) -> Result<(), String> {
    let path = Path::new(path);
    let written = (|| {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        match fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        fs::write(path, text)
    })();
    written.map_err(|why| format!("{} cannot be written: {why}", path.display()))
}

/// hosts(5), as Docker writes it.
fn hosts(config: &GuestConfig) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let own =
        config.network.as_ref().map_or_else(|| "127.0.1.1".to_owned(), |network| network.address.to_string());
    text.push_str(&format!("{own}\t{}\n", config.hostname));
    for entry in &config.hosts {
        text.push_str(&format!("{}\t{}\n", entry.address, entry.names.join(" ")));
    }
    text
}

/// resolv.conf(5).
fn resolver(config: &GuestConfig) -> Option<String> {
    let resolver = config.resolver.as_ref()?;
    let mut text: String =
        resolver.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (word, list) in [("search", &resolver.search), ("options", &resolver.options)] {
        if !list.is_empty() {
            text.push_str(&format!("{word} {}\n", list.join(" ")));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use guest_protocol::{HostsEntry, Network, Resolver, Run};

    use super::*;

    #[test]
    fn files_as_docker_writes_them() {
        let mut config = GuestConfig::new("a/1", "seat-1", "0".repeat(32), Run::default());
        assert!(hosts(&config).ends_with("127.0.1.1\tseat-1\n"));
        assert_eq!(resolver(&config), None);
        let mac = "02:c7:0a:00:00:05".parse().unwrap();
        config.network =
            Some(Network { mac, address: [10, 0, 0, 5].into(), prefix: 24, gateway: None, mtu: None });
        config.hosts =
            vec![HostsEntry { address: [10, 0, 0, 1].into(), names: vec!["gw".into(), "host".into()] }];
        config.resolver = Some(Resolver {
            nameservers: vec![[10, 0, 0, 1].into()],
            search: vec!["a.test".into(), "b.test".into()],
            options: vec!["ndots:1".into()],
        });
        assert!(hosts(&config).ends_with("10.0.0.5\tseat-1\n10.0.0.1\tgw host\n"), "{}", hosts(&config));
        assert_eq!(
            resolver(&config).unwrap(),
            "nameserver 10.0.0.1\nsearch a.test b.test\noptions ndots:1\n"
        );
    }
}
