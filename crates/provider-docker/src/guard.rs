//! Keeping seats from the cloud's metadata service, and workshops from each other.
//!
//! On a cloud host any process that reaches 169.254.169.254 can fetch the host's credentials, and a bridge
//! network reaches whatever the host reaches. Docker has no setting against it, so one small nftables table of
//! our own drops that traffic for the whole address pool. The table is the same for every seat, so it is not
//! touched when seats come and go; `nft -f` replaces it as one transaction, whatever was there. It is named after
//! the pool: a service with another pool has its own, and seats of a pool that was given up stay covered.
//!
//! Seats come back with the engine after a reboot, before anybody asks for one, and other programs flush rules. So
//! the guard is put in force when the service starts and again every minute, not only when a seat is made.
//!
//! The same table drops what goes from one seat to another. Docker does that too, but engines like 20.10 take their rule
//! away for a moment whenever any network comes or goes, and other programs may allow what they like in its chains.
//! Where `isolate_seats` is off, seats of one workshop must reach each other, and it is left to Docker.
//!
//! DNS stays open: on Google's cloud the metadata address is also the resolver. What does not come from the pool
//! (networks that the scripts made) is not covered.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use seats::{ProviderError, SeatRef};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::GuardMode;
use crate::engine::Whom;
use crate::network::Network;

/// Instance metadata (AWS, Azure, GCP, `OpenStack` and others), and the task credentials of AWS ECS.
const METADATA: &str = "169.254.169.254, 169.254.170.2";

/// How long the table is believed to be in force, and how often it is put there again.
pub(crate) const BELIEVED: Duration = Duration::from_secs(60);

const NFT_TIMEOUT: Duration = Duration::from_secs(10);

/// The guard and whether it is in force.
#[derive(Debug)]
pub(crate) struct Guard {
    mode: GuardMode,
    pool: Ipv4Net,
    isolate_seats: bool,
    applied: Mutex<Option<(Instant, Result<(), String>)>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Guard {
    pub(crate) fn new(mode: GuardMode, pool: Ipv4Net, isolate_seats: bool) -> Self {
        Self {
            mode,
            pool,
            isolate_seats,
            applied: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::default(),
        }
    }

    /// Called before a seat is made: puts the guard in force, and refuses the seat where it must be and is not.
    pub(crate) async fn demand(&self, seat: &SeatRef) -> Result<(), ProviderError> {
        let Err(why) = self.ensure().await else { return Ok(()) };
        if self.mode == GuardMode::Required {
            let detail = format!("docker.metadata_guard is \"required\" and is not in force: {why}");
            return Err(ProviderError::Refused { for_whom: Whom::Seat(seat).to_string(), detail });
        }
        Ok(())
    }

    /// Called with the network that a seat is to be on: refuses the seat where it must be guarded and is not.
    pub(crate) fn demand_network(&self, seat: &SeatRef, network: &Network) -> Result<(), ProviderError> {
        if self.mode != GuardMode::Required
            || network.subnet.is_some_and(|subnet| self.pool.contains(&subnet))
        {
            return Ok(());
        }
        let detail = format!(
            "docker.metadata_guard is \"required\" and does not cover the network of workshop {}, which is not from \
             docker.pool; destroy the workshop (keep_data keeps its data) and make it again",
            seat.workshop
        );
        Err(ProviderError::Refused { for_whom: Whom::Seat(seat).to_string(), detail })
    }

    /// Puts the guard in force, unless it was just now.
    ///
    /// # Errors
    /// With why that is not possible here.
    pub(crate) async fn ensure(&self) -> Result<(), String> {
        if self.mode == GuardMode::Off {
            return Ok(());
        }
        let _one = self.one_at_a_time.lock().await;
        if let Some((at, outcome)) = &*self.applied.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < BELIEVED
        {
            return outcome.clone();
        }
        let outcome = apply(&ruleset(self.pool, self.isolate_seats)).await;
        let now = Some((Instant::now(), outcome.clone()));
        let before =
            std::mem::replace(&mut *self.applied.lock().unwrap_or_else(PoisonError::into_inner), now);
        // Said once, not once a minute.
        let is_news = before.is_none_or(|(_, before)| before.is_ok() != outcome.is_ok());
        match &outcome {
            Ok(()) if is_news => {
                tracing::info!(table = table(self.pool), pool = %self.pool, "seats are kept from cloud metadata");
            }
            Err(why) if is_news => {
                tracing::warn!(
                    why,
                    "seats are not kept from cloud metadata; `orchestrator doctor` says what to do"
                );
            }
            _ => {}
        }
        outcome
    }

    pub(crate) fn mode(&self) -> GuardMode {
        self.mode
    }
}

/// Whether this process shares the engine's network, and so its packet filter: not in a container with a network
/// of its own. Docker's default bridge tells, which is where the engine is.
pub(crate) fn is_beside_the_engine() -> bool {
    let in_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists());
    !in_container || Path::new("/sys/class/net/docker0").exists()
}

/// Our table for a pool; `clarateach_10_213_0_0_16`.
fn table(pool: Ipv4Net) -> String {
    format!("clarateach_{pool}").replace(['.', '/'], "_")
}

/// Declared, deleted and declared anew within one transaction: right whether it was there or not.
fn ruleset(pool: Ipv4Net, isolate_seats: bool) -> String {
    let rules = format!(
        "ip saddr {pool} ip daddr {{ {METADATA} }} meta l4proto {{ tcp, udp }} th dport 53 accept; \
         ip saddr {pool} ip daddr {{ {METADATA} }} counter drop;"
    );
    let between =
        if isolate_seats { format!("ip saddr {pool} ip daddr {pool} counter drop;") } else { String::new() };
    let table = table(pool);
    // Before Docker's own chains (priority filter, 0): a drop is final wherever it happens.
    format!(
        "table ip {table} {{}}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         chain forward {{ type filter hook forward priority -10; policy accept; {rules} {between} }}\n\
         chain input {{ type filter hook input priority -10; policy accept; {rules} }}\n\
         }}\n"
    )
}

async fn apply(ruleset: &str) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("this host has no nftables".to_owned());
    }
    if !is_beside_the_engine() {
        return Err("the service runs in a container with a network of its own".to_owned());
    }
    let spawned = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("the program nft is not installed".to_owned());
        }
        Err(error) => return Err(format!("nft cannot be run: {error}")),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why on its standard error.
        drop(stdin.write_all(ruleset.as_bytes()).await);
    }
    match tokio::time::timeout(NFT_TIMEOUT, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("nft: {}", said.lines().next().unwrap_or("failed without a word")))
        }
        Ok(Err(error)) => Err(format!("nft: {error}")),
        Err(_) => Err("nft did not end in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ruleset_names_the_pool_and_nothing_wider() {
        let rules = ruleset("10.213.0.0/16".parse().unwrap(), true);
        assert_eq!(rules.matches("ip saddr 10.213.0.0/16").count(), 5);
        assert_eq!(rules.matches("drop;").count(), 3);
        assert_eq!(rules.matches("table ip clarateach_10_213_0_0_16").count(), 3);
        assert!(!rules.contains("flush ruleset"));
        let open = ruleset("10.213.0.0/16".parse().unwrap(), false);
        assert!(open.matches("drop;").count() == 2 && !open.contains("daddr 10.213.0.0/16"));
    }

    #[tokio::test]
    async fn off_is_never_in_the_way() {
        let guard = Guard::new(GuardMode::Off, "10.213.0.0/16".parse().unwrap(), true);
        assert_eq!(guard.ensure().await, Ok(()));
    }
}
