//! Whom seats can ask for names.

use std::net::IpAddr;
use std::path::Path;

use seats::Finding;

use crate::MicrovmConfig;
use crate::nameservers::{BEHIND, NameServers, OWN, named, within_reach};

const NAME: &str = "name_servers";
const REMEDY: &str = "set microvm.nameservers to IPv4 addresses that seats can ask; what listens on this host's loopback they never reach";

/// Looks below `root`, which is `/`. An operator's network may name some itself, so there only those that are set are looked at.
pub(super) fn look(config: &MicrovmConfig, root: &Path) -> Option<Finding> {
    let is_set = !config.nameservers.is_empty();
    if config.cni.is_some() && !is_set {
        return None;
    }
    let servers = NameServers::new(&config.nameservers, root);
    let asked: Vec<_> = servers.now().into_iter().filter(|server| within_reach(*server).is_some()).collect();
    if !asked.is_empty() {
        let of_whom = if is_set { "microvm.nameservers" } else { "this host's" };
        return Some(Finding::ok(NAME, format!("seats ask {} for names ({of_whom})", list(&asked))));
    }
    let detail = if is_set {
        format!("seats have nobody to ask for names: they cannot reach {}", list(&config.nameservers))
    } else {
        let own = std::fs::read_to_string(root.join(OWN.trim_start_matches('/'))).unwrap_or_default();
        let own = match list(&named(&own)) {
            none if none.is_empty() => format!("{OWN} names nobody"),
            some => format!("{OWN} names only {some}, which they cannot reach"),
        };
        format!("seats have nobody to ask for names: {own}, and {BEHIND} nobody else")
    };
    Some(Finding::warning(NAME, detail, REMEDY))
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use seats::Level;

    use super::*;
    use crate::CniConfig;
    use crate::vmm::KeeperCommand;

    fn config(nameservers: &[&str]) -> MicrovmConfig {
        let keeper = KeeperCommand { program: "/bin/false".into(), args: Vec::new() };
        let nameservers = nameservers.iter().map(|text| text.parse().unwrap()).collect();
        MicrovmConfig { nameservers, ..MicrovmConfig::new("/x", keeper) }
    }

    #[test]
    fn seats_without_a_name_server_are_told_of() {
        let root = tempfile::tempdir().unwrap();
        let found = |nameservers: &[&str]| look(&config(nameservers), root.path()).unwrap();
        let nobody = found(&[]);
        assert_eq!(nobody.level, Level::Warning);
        assert!(nobody.detail.contains("/etc/resolv.conf names nobody"), "{nobody:?}");
        assert!(nobody.remedy.unwrap().contains("microvm.nameservers"));

        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/resolv.conf"), "nameserver 127.0.0.53\nnameserver ::1\n").unwrap();
        let stub = found(&[]);
        assert_eq!(stub.level, Level::Warning);
        assert!(stub.detail.contains("names only 127.0.0.53, ::1, which they cannot reach"), "{stub:?}");

        let behind = root.path().join("run/systemd/resolve");
        fs::create_dir_all(&behind).unwrap();
        fs::write(behind.join("resolv.conf"), "nameserver 10.0.0.2\n").unwrap();
        assert_eq!(found(&[]), Finding::ok(NAME, "seats ask 10.0.0.2 for names (this host's)"));

        let set = found(&["2001:db8::53", "192.0.2.53"]);
        assert_eq!(set, Finding::ok(NAME, "seats ask 192.0.2.53 for names (microvm.nameservers)"));
        let wrong = found(&["2001:db8::53", "127.0.0.1"]);
        assert_eq!(wrong.level, Level::Warning);
        assert!(wrong.detail.ends_with("they cannot reach 2001:db8::53, 127.0.0.1"), "{wrong:?}");
    }

    #[test]
    fn an_operators_network_may_name_some_itself() {
        let root = tempfile::tempdir().unwrap();
        let cni = CniConfig {
            network: "lab".parse().unwrap(),
            config_dir: "/x".into(),
            bin_dirs: Vec::new(),
            timeout: std::time::Duration::from_secs(1),
            namespaces: None,
        };
        let of = |nameservers| MicrovmConfig { cni: Some(cni.clone()), ..config(nameservers) };
        assert_eq!(look(&of(&[]), root.path()), None);
        assert_eq!(look(&of(&["::1"]), root.path()).unwrap().level, Level::Warning);
    }
}
