//! Living beside a Docker engine.
//!
//! Docker sets the policy of the chain FORWARD of iptables to DROP when it turns forwarding on, and what one program drops no other can let
//! through. For rules of others Docker has the chain DOCKER-USER, which it passes all forwarded packets through and never touches
//! (docs.docker.com, "Packet filtering and firewalls"). Where that chain is, each bridge of ours has two rules in it, told by their comment:
//! what comes from seats may go on, and answers may come back. What seats may not reach our own tables drop before.
//!
//! Where there is no such chain nothing is changed; `doctor` says when the policy of another program stands in the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::HostNet;
use crate::error::NetError;
use crate::names::IfName;
use crate::net::WorkshopNet;

const CHAIN: &str = "DOCKER-USER";
const LIMIT: Duration = Duration::from_secs(20);
/// How long it holds what was seen of a bridge's rules. A look is a child process, and the seats of a class are not to wait for one each.
const HOLDS: Duration = Duration::from_secs(30);

/// Since when the rules of bridges are known to be there, or not to be needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<HashMap<IfName, Instant>>>);

impl Seen {
    fn note(&self, bridge: &IfName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(bridge.clone(), Instant::now());
    }

    fn is_fresh(&self, bridge: &IfName) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(bridge).is_some_and(|since| since.elapsed() < HOLDS)
    }

    fn forget(&self, which: impl Fn(&IfName) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|bridge, _| !which(bridge));
    }
}

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
    pub(super) async fn let_docker_pass(&self, net: &WorkshopNet, whom: &str) -> Result<(), NetError> {
        if self.docker.is_fresh(net.bridge()) {
            return Ok(());
        }
        if let Some(rules) = rules().await {
            let ours = self.rules_of_ours(&rules);
            for way in [Way::Out, Way::Back] {
                if !ours.contains(&(way, net.bridge().clone())) {
                    iptables("-I", &way.rule(net.bridge(), &self.comment())).await.map_err(failed(whom))?;
                }
            }
        }
        self.docker.note(net.bridge());
        Ok(())
    }

    pub(super) async fn docker_forgets(&self, net: &WorkshopNet, whom: &str) -> Result<(), NetError> {
        self.forget(whom, |bridge| bridge == net.bridge()).await
    }

    pub(super) async fn docker_forgets_all(&self, whom: &str) -> Result<(), NetError> {
        self.forget(whom, |_| true).await
    }

    async fn forget(&self, whom: &str, which: impl Fn(&IfName) -> bool) -> Result<(), NetError> {
        self.docker.forget(&which);
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
