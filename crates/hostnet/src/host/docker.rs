//! Living beside a Docker engine.
//!
//! Docker sets the policy of the chain FORWARD of iptables to DROP when it turns forwarding on, and what one program drops no other can let
//! through. For rules of others Docker has the chain DOCKER-USER, which it passes all forwarded packets through and never touches
//! (docs.docker.com, "Packet filtering and firewalls"). Where that chain is, each bridge of ours has two rules in it, told by their comment:
//! what comes from seats may go on, and answers may come back. What seats may not reach our own tables drop before. Whether they are there is
//! looked at beside everything else, since that is a process each time, and Docker may come after the workshop.
//!
//! Where there is no such chain nothing is changed; `doctor` says when the policy of another program stands in the way.

use std::time::Duration;

use tokio::process::Command;

use super::{HostNet, doing};
use crate::error::NetError;
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
        let Some(rules) = rules().await else { return Ok(()) };
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
        let Some(rules) = rules().await else { return Ok(()) };
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

/// Whether Docker's chain is there for us.
pub(super) async fn has_a_chain() -> bool {
    rules().await.is_some()
}

/// The rules in Docker's chain; `None` where there is none, or no iptables.
async fn rules() -> Option<String> {
    iptables("-S", &[]).await.ok()
}

async fn iptables(what: &str, rule: &[String]) -> Result<String, String> {
    // The wait is for other programs that change rules.
    let mut command = Command::new("iptables");
    command.args(["-w", "10", what, CHAIN]).args(rule).kill_on_drop(true);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not end within {} s", LIMIT.as_secs())),
    }
}

fn failed(whom: &str) -> impl Fn(String) -> NetError + '_ {
    move |said| {
        NetError::kernel(
            format!("{whom}: changing Docker's chain {CHAIN} by iptables"),
            std::io::Error::other(said),
        )
    }
}
