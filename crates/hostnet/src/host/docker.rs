//! Living beside a Docker engine.
//!
//! Docker sets the policy of the chain FORWARD of iptables to DROP when it turns forwarding on, and what one program drops no other can let
//! through. For rules of others Docker has the chain DOCKER-USER, which it passes all forwarded packets through and never touches
//! (docs.docker.com, "Packet filtering and firewalls"). Where that chain is, each bridge of ours has two rules in it, told by their comment:
//! what comes from seats may go on, and answers may come back. What seats may not reach our own tables drop before. Whether they are there is
//! looked at beside everything else, since that is a process each time, and Docker may come after the workshop.
//!
//! Where there is no such chain nothing is changed; `doctor` says when the policy of another program stands in the way. Where it cannot be told
//! whether there is one, seats may have no way out, and that is said: `iptables-legacy` takes `CAP_NET_RAW` and a lock file, which not every service has.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::process::Command;

use super::{HostNet, doing};
use crate::error::NetError;
use crate::filter::nft;
use crate::names::{IfName, Owner};
use crate::net::WorkshopNet;

const CHAIN: &str = "DOCKER-USER";
const LIMIT: Duration = Duration::from_secs(20);
/// Which packets a rule of ours lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    Back,
}

impl Way {
    fn rule(self, bridge: &IfName, comment: &str) -> Vec<String> {
        let which: &[&str] = match self {
            Self::Out => &["-i"],
            Self::Back => &["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-o"],
        };
        let rest = [bridge.as_str(), "-m", "comment", "--comment", comment, "-j", "ACCEPT"];
        which.iter().copied().chain(rest).map(str::to_owned).collect()
    }
}

impl HostNet {
    /// Sees to it that every bridge of ours has its rules. Where there is none, nobody is asked.
    pub(super) async fn let_docker_pass(&self) -> Result<(), NetError> {
        // A workshop that goes meanwhile takes its bridge away first, and then waits for this before it looks for rules.
        let _alone = self.docker.lock().await;
        let links = self.links.all().await;
        let links = links.map_err(doing("Docker's chain", "listing interfaces"))?;
        let bridges: Vec<IfName> = links
            .iter()
            .filter(|link| link.is_bridge && matches!(self.owner(link), Some(Owner::Workshop(_))))
            .filter_map(|link| link.name.parse().ok())
            .collect();
        if bridges.is_empty() {
            return Ok(());
        }
        let rules = rules().await.map_err(|trouble| {
            let doing =
                format!("asking iptables for Docker's chain {CHAIN}, whose engine may drop what seats send");
            NetError::kernel(doing, io::Error::other(trouble.with_remedy()))
        })?;
        let Some(rules) = rules else { return Ok(()) };
        let ours = self.rules_of_ours(&rules);
        let mut errors = Vec::new();
        for bridge in bridges {
            for way in [Way::Out, Way::Back] {
                if !ours.contains(&(way, bridge.clone())) {
                    let inserted = iptables("-I", &way.rule(&bridge, &self.comment())).await;
                    errors.extend(inserted.map_err(failed(&format!("the bridge {bridge}"))).err());
                }
            }
        }
        NetError::collected(errors)
    }

    pub(super) async fn docker_forgets(&self, net: &WorkshopNet, whom: &str) -> Result<(), NetError> {
        self.forget(whom, |bridge| bridge == net.bridge()).await
    }

    pub(super) async fn docker_forgets_all(&self, whom: &str) -> Result<(), NetError> {
        self.forget(whom, |_| true).await
    }

    async fn forget(&self, whom: &str, which: impl Fn(&IfName) -> bool) -> Result<(), NetError> {
        let _alone = self.docker.lock().await;
        let rules = match rules().await {
            Ok(Some(rules)) => rules,
            Ok(None) => return Ok(()),
            // Who cannot look cannot have put any there; a service before this one may have, and they let nobody through any more.
            Err(trouble) => {
                let why = trouble.to_string();
                tracing::warn!(
                    whom,
                    why,
                    "whether Docker's chain {CHAIN} has rules for it left is not known"
                );
                return Ok(());
            }
        };
        for (way, bridge) in self.rules_of_ours(&rules).into_iter().filter(|(_, bridge)| which(bridge)) {
            iptables("-D", &way.rule(&bridge, &self.comment())).await.map_err(failed(whom))?;
        }
        Ok(())
    }

    fn comment(&self) -> String {
        format!("clarateach {}", self.instance())
    }

    /// Reads what `iptables -S` prints.
    fn rules_of_ours(&self, rules: &str) -> Vec<(Way, IfName)> {
        let marked = format!("--comment \"{}\"", self.comment());
        let ours = rules.lines().filter(|line| line.contains(&marked)).filter_map(|line| {
            let mut words = line.split(' ').skip_while(|word| !matches!(*word, "-i" | "-o"));
            let way = if words.next()? == "-i" { Way::Out } else { Way::Back };
            Some((way, words.next()?.parse().ok()?))
        });
        ours.collect()
    }
}

/// Whether Docker's chain is there for us; otherwise why that cannot be told, and what to do.
pub(super) async fn has_a_chain() -> Result<bool, String> {
    let rules = rules().await.map_err(|trouble| trouble.with_remedy())?;
    Ok(rules.is_some())
}

/// Whether `iptables` is the one that takes more rights than the packet filter does otherwise.
pub(super) async fn is_legacy() -> bool {
    let version = run(&["-V"], &[]).await;
    version.is_ok_and(|version| version.contains(LEGACY))
}

/// The rules in Docker's chain; `None` where there is none, or no iptables.
async fn rules() -> Result<Option<String>, Trouble> {
    match iptables("-S", &[]).await {
        Ok(rules) => Ok(Some(rules)),
        Err(trouble) if trouble.is_no_chain(legacy_filters()) => Ok(None),
        // So it is of one that is not there, and of one with rules that it does not know (1.8.9).
        Err(Trouble::Said(said)) if said.contains("is incompatible, use 'nft' tool") => {
            let there = nft::run(&["list", "chain", "ip", "filter", CHAIN], "").await;
            if there.is_ok() { Err(Trouble::Said(said)) } else { Ok(None) }
        }
        Err(trouble) => Err(trouble),
    }
}

async fn iptables(what: &str, rule: &[String]) -> Result<String, Trouble> {
    // The wait is for other programs that change rules.
    run(&["-w", "10", what, CHAIN], rule).await
}

async fn run(arguments: &[&str], rule: &[String]) -> Result<String, Trouble> {
    let mut command = Command::new("iptables");
    command.args(arguments).args(rule).kill_on_drop(true);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(Trouble::Said(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Trouble::NotInstalled),
        Ok(Err(error)) => Err(Trouble::Said(format!("it cannot be run: {error}"))),
        Err(_) => Err(Trouble::Said(format!("it did not end within {} s", LIMIT.as_secs()))),
    }
}

/// Whether the filter of iptables-legacy is in use here. The kernel has it where somebody has asked for it (`ip_tables` of Linux 5.15 and newer).
pub(super) fn legacy_filters() -> bool {
    let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

/// Why iptables did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    NotInstalled,
    /// What it says.
    Said(String),
}

/// How `iptables` names itself where it is iptables-legacy.
const LEGACY: &str = "(legacy)";

impl Trouble {
    /// Whether it means that there is no chain of Docker's; `legacy_filters` says whether iptables-legacy has any chain at all.
    fn is_no_chain(&self, legacy_filters: bool) -> bool {
        let Self::Said(said) = self else { return true };
        // A kernel without iptables-legacy has no rules of it either.
        let is_none = ["No chain/target/match by that name", "Table does not exist"];
        is_none.iter().any(|none| said.contains(none)) || (self.is_of_legacy() && !legacy_filters)
    }

    /// The lock is iptables-legacy's alone, and its name in that message is not.
    fn is_of_legacy(&self) -> bool {
        matches!(self, Self::Said(said) if said.contains(LEGACY) || said.contains("xtables.lock"))
    }

    fn with_remedy(&self) -> String {
        let remedy = if self.is_of_legacy() {
            "give this service CAP_NET_RAW and /run/xtables.lock (docs/microvm.md, Network), or have Docker and this service use iptables-nft \
             (update-alternatives --config iptables, then restart both)"
        } else {
            "see by hand what 'iptables -S DOCKER-USER' says; until it works, seats may reach nothing outside"
        };
        format!("{self}; {remedy}")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("iptables is not installed"),
            Self::Said(said) if said.is_empty() => f.write_str("iptables says nothing, and failed"),
            Self::Said(said) => write!(f, "iptables says: {said}"),
        }
    }
}

fn failed(whom: &str) -> impl Fn(Trouble) -> NetError + '_ {
    move |trouble| {
        NetError::kernel(
            format!("{whom}: changing Docker's chain {CHAIN}"),
            io::Error::other(trouble.with_remedy()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of iptables 1.8.9.
    const NO_CHAIN: &str = "iptables: No chain/target/match by that name.";
    const NO_TABLE: &str = "iptables v1.8.9 (legacy): can't initialize iptables table `filter': Table does not exist (do you need to insmod?)";
    const FORBIDDEN: &str = "iptables v1.8.9 (legacy): can't initialize iptables table `filter': Permission denied (you must be root)";
    const LOCKED: &str = "Fatal: can't open lock file /run/xtables.lock: Read-only file system";
    const NFT: &str = "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)";

    #[test]
    fn a_chain_that_is_not_there_is_told_from_one_that_cannot_be_looked_for() {
        let said = |text: &str| Trouble::Said(text.to_owned());
        for legacy_filters in [false, true] {
            for none in [Trouble::NotInstalled, said(NO_CHAIN), said(NO_TABLE)] {
                assert!(none.is_no_chain(legacy_filters), "{none}");
            }
            for some in [said(NFT), said(""), said("it did not end within 20 s")] {
                assert!(!some.is_no_chain(legacy_filters), "{some}");
            }
            // Where nobody has rules by iptables-legacy, Docker has none either, and nobody need be troubled.
            for legacy in [said(FORBIDDEN), said(LOCKED)] {
                assert_eq!(legacy.is_no_chain(legacy_filters), !legacy_filters, "{legacy}");
            }
        }
    }

    #[test]
    fn what_to_do_is_said() {
        let of = |text: &str| Trouble::Said(text.to_owned()).with_remedy();
        for legacy in [FORBIDDEN, LOCKED] {
            let text = of(legacy);
            assert!(text.contains(legacy) && text.contains("CAP_NET_RAW and /run/xtables.lock"), "{text}");
        }
        assert!(of(NFT).contains("'iptables -S DOCKER-USER'"));
        assert!(of("").starts_with("iptables says nothing, and failed; "));
    }
}
