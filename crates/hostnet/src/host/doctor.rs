//! What an operator should know of the host's network before class day.

use std::path::Path;

use rustix::thread::CapabilitySet;
use seats::Finding;
use serde_json::Value;
use tokio::process::Command;

use super::{HostNet, docker};
use crate::filter::nft;
use crate::ipam;
use crate::sysctl;
use crate::tap;

impl HostNet {
    /// Looks at everything that the network of seats needs from this host. Changes nothing.
    pub async fn doctor(&self) -> Vec<Finding> {
        vec![
            capability(),
            tun(),
            self.packet_filter().await,
            forwarding(),
            self.pool_free().await,
            self.egress().await,
            self.bandwidth().await,
        ]
    }

    async fn packet_filter(&self) -> Finding {
        const NAME: &str = "packet_filter";
        match nft::run(nft::CHECK, &self.rules(&self.resolvers(), &[], false)).await {
            Ok(_) => Finding::ok(NAME, "nftables takes the rules that keep seats apart"),
            Err(why) => Finding::error(
                NAME,
                format!("the rules that keep seats apart cannot be put in force: {why}"),
                "install nftables 1.0 or newer and run as root; the kernel needs nf_tables with the families bridge and inet, nft_fib, \
                 nft_masq and nft_ct (modprobe nft_fib_inet nft_masq nft_ct)",
            ),
        }
    }

    async fn pool_free(&self) -> Finding {
        const NAME: &str = "microvm_pool";
        const REMEDY: &str = "configure another address pool for microVM seats";
        let pool = self.options.pool;
        let taken = match self.taken().await {
            Ok(taken) => taken,
            Err(error) => return Finding::error(NAME, error.to_string(), "see the kernel's log"),
        };
        let others: Vec<_> = ipam::collisions(pool, &taken)
            .into_iter()
            .filter(|taken| !taken.by.starts_with("workshop "))
            .map(|taken| format!("{} ({})", taken.by, taken.range))
            .collect();
        let detail = format!("the address pool {pool} shares addresses with {}", others.join(", "));
        match ipam::free_subnet(pool, ipam::LONGEST_PREFIX.max(pool.prefix_len()), &taken) {
            _ if others.is_empty() => {
                Finding::ok(NAME, format!("the address pool {pool} is free of the host's networks"))
            }
            Ok(_) => Finding::warning(NAME, format!("{detail}; workshops keep off them"), REMEDY),
            Err(_) => Finding::error(NAME, format!("{detail}; no workshop can be made"), REMEDY),
        }
    }

    /// Whether somebody else's filter drops what seats send out.
    async fn egress(&self) -> Finding {
        const NAME: &str = "egress";
        let mut droppers = Vec::new();
        if let Ok(chains) = nft::run(&["-j", "list", "chains"], "").await {
            droppers.extend(dropping(&chains, &self.instance().table()));
        }
        if legacy_drops().await {
            droppers.push("the chain FORWARD of iptables-legacy".to_owned());
        }
        if droppers.is_empty() {
            return Finding::ok(NAME, "no other packet filter drops what seats send out by its policy");
        }
        let detail = format!("what this host passes on is dropped by the policy of {}", droppers.join(", "));
        let unknown = match docker::has_a_chain().await {
            Ok(true) if droppers.len() == 1 => {
                let detail = format!(
                    "{detail}; seats are let through by two rules for each workshop in Docker's chain DOCKER-USER"
                );
                // Whoever runs this may have rights that the service has not.
                let of_legacy = "; iptables is iptables-legacy here, for which a service in the systemd unit needs CAP_NET_RAW and /run/xtables.lock \
                                 (docs/microvm.md, Network)";
                let more = if docker::is_legacy().await { of_legacy } else { "" };
                return Finding::ok(NAME, detail + more);
            }
            Ok(_) => String::new(),
            Err(why) => format!("; whether Docker lets others through is not known: {why}"),
        };
        Finding::warning(
            NAME,
            format!("{detail}{unknown}; seats reach nothing outside, and only the host reaches them"),
            "let packets pass from and to the workshops' bridges there (for ufw: `ufw default allow routed`), or accept that seats are offline",
        )
    }
}

fn capability() -> Finding {
    const NAME: &str = "cap_net_admin";
    match rustix::thread::capabilities(None) {
        Ok(sets) if sets.effective.contains(CapabilitySet::NET_ADMIN) => {
            Finding::ok(NAME, "may change the host's network (CAP_NET_ADMIN)")
        }
        Ok(_) => Finding::error(
            NAME,
            "may not change the host's network: the capability CAP_NET_ADMIN is missing",
            "run as root, or with AmbientCapabilities=CAP_NET_ADMIN in the systemd unit",
        ),
        Err(error) => {
            Finding::error(NAME, format!("the capabilities cannot be read: {error}"), "run as root")
        }
    }
}

fn tun() -> Finding {
    const NAME: &str = "tun";
    match std::fs::OpenOptions::new().read(true).write(true).open(tap::DEVICE) {
        Ok(_) => Finding::ok(NAME, format!("{} can be opened", tap::DEVICE)),
        Err(error) => Finding::error(
            NAME,
            format!("{} cannot be opened: {error}", tap::DEVICE),
            "load the module (modprobe tun), and in a container pass the device in (--device /dev/net/tun)",
        ),
    }
}

fn forwarding() -> Finding {
    const NAME: &str = "forwarding";
    const WRITABLE: &str = "/proc/sys/net/ipv4/conf";
    let read_only = rustix::fs::statvfs(WRITABLE)
        .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    if read_only {
        return Finding::error(
            NAME,
            format!("{} cannot be written: it is mounted read-only", Path::new(WRITABLE).display()),
            "run on the host, or in a container with --privileged",
        );
    }
    match sysctl::forwards() {
        Ok(true) => Finding::ok(NAME, "this host passes packets on (net.ipv4.ip_forward)"),
        Ok(false) => Finding::ok(
            NAME,
            "net.ipv4.ip_forward is off; the first workshop turns it on, for all interfaces of this host",
        ),
        Err(error) => {
            Finding::error(NAME, format!("net.ipv4.ip_forward cannot be read: {error}"), "mount /proc")
        }
    }
}

/// The chains in the way of forwarded packets that drop what they say nothing about; `chains` is what `nft -j list chains` prints.
fn dropping(chains: &str, ours: &str) -> Vec<String> {
    let chains: Value = serde_json::from_str(chains).unwrap_or_default();
    let chains = chains["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dropping = chains.iter().filter_map(|entry| {
        let chain = entry.get("chain")?;
        let text = |key: &str| chain.get(key).and_then(Value::as_str).unwrap_or_default();
        let in_the_way = text("hook") == "forward"
            && text("policy") == "drop"
            && matches!(text("family"), "ip" | "inet")
            && text("table") != ours;
        in_the_way
            .then(|| format!("the chain {} of the table {} {}", text("name"), text("family"), text("table")))
    });
    dropping.collect()
}

/// Asked only where its table is in use: asking makes the kernel load it.
async fn legacy_drops() -> bool {
    if !docker::legacy_filters() {
        return false;
    }
    let policy = Command::new("iptables-legacy").args(["-S", "FORWARD"]).kill_on_drop(true).output().await;
    policy.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "-P FORWARD DROP")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_of_others_are_in_the_way() {
        let chains = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "inet", "table": "ours", "name": "forward", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip6", "table": "filter", "name": "FORWARD", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}}]}"#;
        assert_eq!(dropping(chains, "ours"), ["the chain FORWARD of the table ip filter"]);
        assert_eq!(dropping("not JSON", "ours"), Vec::<String>::new());
    }
}
