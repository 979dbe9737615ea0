//! The limits of a seat's network: what the host sends to it by the TAP device's own queue, what it sends by the packet filter.

use seats::Finding;

use super::{HostNet, doing};
use crate::bandwidth::BitRate;
use crate::error::NetError;
use crate::filter::nft;
use crate::link::qdisc::{TOKEN_BUCKET, is_unknown};
use crate::names::IfName;

/// What is limited, in words, and what the kernel needs for it.
const RECEIVING: (&str, &str) = ("what seats receive", "sch_tbf");
const SENDING: (&str, &str) = ("what seats send", "nft_limit");

impl HostNet {
    /// Holds what comes from a TAP device to a limit, or lets it go. Its element is entered before the device is on a bridge, and is no
    /// part of the port's others: the set is only there where something was limited once.
    pub(super) async fn limit_sending(
        &self,
        tap: &IfName,
        rate: Option<BitRate>,
        whom: &str,
    ) -> Result<(), NetError> {
        let (table, tap) = (self.instance().table(), tap.clone());
        match rate {
            Some(rate) => {
                let limited = self.nftables.limit(&table, tap, rate).await;
                limited.map_err(doing(whom, "limiting what it sends (are the packet filter's tables there?)"))
            }
            None => {
                let unlimited = self.nftables.unlimit(&table, tap).await;
                unlimited.map_err(doing(whom, "taking the limit from what it sends"))
            }
        }
    }

    /// Holds what a TAP device sends to its guest to the limit. `qdisc` is what it has now; one that is no token bucket stays where there is no
    /// limit.
    pub(super) async fn limit_receiving(&self, index: u32, qdisc: &str, whom: &str) -> Result<(), NetError> {
        match self.options.bandwidth.to_seat {
            Some(rate) => match self.links.limit(index, rate).await {
                Err(error) if is_unknown(&error) => Err(cannot(RECEIVING, whom)),
                limited => limited.map_err(doing(whom, "limiting what it receives")),
            },
            None if qdisc == TOKEN_BUCKET => {
                let unlimited = self.links.unlimit(index).await;
                unlimited.map_err(doing(whom, "taking the limit from what it receives"))
            }
            None => Ok(()),
        }
    }

    /// Whether the kernel can do what is configured. What is not configured needs nothing.
    pub(super) async fn bandwidth(&self) -> Finding {
        const NAME: &str = "bandwidth";
        let bandwidth = self.options.bandwidth;
        let mut missing = Vec::new();
        if bandwidth.to_seat.is_some() {
            match self.links.try_token_bucket().await {
                Ok(()) => {}
                Err(error) if is_unknown(&error) => missing.push(RECEIVING),
                Err(error) => {
                    return Finding::error(
                        NAME,
                        format!("whether {} can be limited is not known: {error}", RECEIVING.0),
                        "run as root, or with AmbientCapabilities=CAP_NET_ADMIN in the systemd unit",
                    );
                }
            }
        }
        // What the rules need beside limits is the packet filter's own finding.
        if self.limits_sending()
            && nft::run(nft::CHECK, &self.rules(&self.resolvers(), &[], true)).await.is_err()
            && nft::run(nft::CHECK, &self.rules(&self.resolvers(), &[], false)).await.is_ok()
        {
            missing.push(SENDING);
        }
        if missing.is_empty() {
            return Finding::ok(NAME, bandwidth.to_string());
        }
        let (whats, modules): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        Finding::error(
            NAME,
            format!(
                "{}, but this kernel cannot limit {}: no seat can be made",
                bandwidth,
                whats.join(" and "),
            ),
            format!(
                "load what is missing (modprobe {}), use a kernel that has it, or set the limit to off",
                modules.join(" ")
            ),
        )
    }
}

/// The kernel has the packet filter, but no limits in it.
pub(super) fn cannot_limit_sending(whom: &str) -> NetError {
    cannot(SENDING, whom)
}

fn cannot((what, module): (&'static str, &'static str), whom: &str) -> NetError {
    NetError::Unsupported { for_whom: whom.to_owned(), what, module }
}
