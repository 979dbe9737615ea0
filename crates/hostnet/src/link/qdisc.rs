//! What an interface sends, held to a rate: a token bucket (tc-tbf(8)) in the place of its own queue.
//!
//! ```text
//!   the host's frames for the guest ─► queue, at most QUEUE of time ─► tokens: rate, at most `burst` of them ─► TAP ─► VMM
//! ```
//!
//! Of a device, what leaves the host can be queued; what comes in has been sent already and can only be dropped, which the packet
//! filter does.

use std::io;

use futures_util::StreamExt;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

use super::{Answer, Links, absent_is_fine};
use crate::bandwidth::BitRate;

/// The kind of queueing discipline; as an interface's `IFLA_QDISC` it says that there is one.
pub(crate) const TOKEN_BUCKET: &str = "tbf";

/// `TCA_TBF_PARMS`, `TCA_TBF_RATE64`, `TCA_TBF_BURST` of `linux/pkt_sched.h`.
const PARAMETERS: u16 = 1;
const RATE64: u16 = 4;
const BURST: u16 = 6;

/// `TC_LINKLAYER_ETHERNET` of `linux/pkt_sched.h`: a frame counts as many bytes as it has.
const ETHERNET: u8 = 1;

/// The least that may pass at once: the largest frame of the kernel's segmentation offload, which else is cut up (`tbf_segment` of
/// `net/sched/sch_tbf.c`).
const LEAST_BURST: u64 = 64 << 10;

/// The least that may wait: two such frames. A queue of less than one would take none.
const LEAST_QUEUE: u64 = 128 << 10;

impl Links {
    /// Makes an interface send no more than this, whatever its queue was before. A bucket that is there is changed, and keeps what waits.
    pub(crate) async fn limit(&self, index: u32, rate: BitRate) -> Answer<()> {
        let mut message = root_of(index)?;
        message.attributes.push(TcAttribute::Options(options(rate)));
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        self.shape(message, NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Gives an interface that has a token bucket the queue back that the kernel chooses.
    pub(crate) async fn unlimit(&self, index: u32) -> Answer<()> {
        let message = RouteNetlinkMessage::DelQueueDiscipline(root_of(index)?);
        absent_is_fine(self.shape(message, 0).await)
    }

    /// Asks whether the kernel has token buckets, or a module of them that it loads; [`is_unknown`] is the error when not. Changes nothing:
    /// one without a rate is refused by its own set-up (`tbf_init`), before it takes the place of anything.
    pub(crate) async fn try_token_bucket(&self) -> Answer<()> {
        let mut message = root_of(LOOPBACK)?;
        // A number that nobody uses: what is there is not meant, whatever it is.
        message.header.handle = TcHandle { major: 0xc7a7, minor: 0 };
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        match self.shape(message, NLM_F_CREATE | NLM_F_REPLACE).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    }

    async fn shape(&self, message: RouteNetlinkMessage, flags: u16) -> Answer<()> {
        let mut handle = self.handle.clone();
        let carried_out = async move {
            let mut message = NetlinkMessage::from(message);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            let mut answers = handle.request(message)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload
                    && error.code.is_some()
                {
                    return Err(rtnetlink::Error::NetlinkError(error));
                }
            }
            Ok(())
        };
        self.request(carried_out).await
    }
}

/// The loopback interface's index, in every network namespace (`LOOPBACK_IFINDEX` of `include/net/flow.h`).
const LOOPBACK: u32 = 1;

/// `ENOENT`, or `EOPNOTSUPP` of a kernel without any queueing disciplines: this one cannot be had.
pub(crate) fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported)
}

fn root_of(index: u32) -> Answer<TcMessage> {
    let mut message = TcMessage::with_index(i32::try_from(index).map_err(io::Error::other)?);
    message.header.parent = TcHandle::ROOT;
    message.attributes.push(TcAttribute::Kind(TOKEN_BUCKET.to_owned()));
    Ok(message)
}

/// `struct tc_tbf_qopt` of `linux/pkt_sched.h`, and what has grown too large for it.
fn options(rate: BitRate) -> Vec<TcOption> {
    let rate = rate.bytes();
    let mut parameters = Vec::with_capacity(36);
    parameters.extend([0, ETHERNET]);
    parameters.extend([0; 6]);
    parameters.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    // No second bucket for peaks.
    parameters.extend([0; 12]);
    parameters.extend(queue(rate).to_ne_bytes());
    // The bucket in ticks, which depend on the kernel, and a field without use: BURST stands instead.
    parameters.extend([0; 8]);
    [
        DefaultNla::new(PARAMETERS, parameters),
        DefaultNla::new(RATE64, rate.to_ne_bytes().to_vec()),
        DefaultNla::new(BURST, burst(rate).to_ne_bytes().to_vec()),
    ]
    .map(TcOption::Other)
    .to_vec()
}

/// Bytes that may pass at once: those of 20 ms.
fn burst(rate: u64) -> u32 {
    u32::try_from((rate / 50).max(LEAST_BURST)).unwrap_or(u32::MAX)
}

/// Bytes that may wait: those of 100 ms, so that a seat's own traffic does not make it slow to answer.
fn queue(rate: u64) -> u32 {
    u32::try_from((rate / 10).max(LEAST_QUEUE)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Nla as _;

    use super::*;

    #[test]
    fn a_bucket_is_laid_out_as_the_kernel_has_it() {
        let rate = BitRate::from_mbit(80).unwrap();
        let options = options(rate);
        let [TcOption::Other(parameters), TcOption::Other(rate64), TcOption::Other(burst)] = &options[..]
        else {
            panic!("{options:?}")
        };
        let value = |nla: &DefaultNla| {
            let mut bytes = vec![0; nla.value_len()];
            nla.emit_value(&mut bytes);
            bytes
        };
        let mut expected = vec![0, 1, 0, 0, 0, 0, 0, 0];
        expected.extend(10_000_000_u32.to_ne_bytes());
        expected.extend([0; 12]);
        expected.extend(1_000_000_u32.to_ne_bytes());
        expected.extend([0; 8]);
        assert_eq!(value(parameters), expected);
        assert_eq!(value(rate64), 10_000_000_u64.to_ne_bytes());
        assert_eq!(value(burst), 200_000_u32.to_ne_bytes());
    }

    #[test]
    fn bucket_and_queue_fit_the_largest_and_the_smallest_rate() {
        let least = BitRate::from_mbit(BitRate::LEAST).unwrap().bytes();
        assert_eq!((burst(least), queue(least)), (64 << 10, 128 << 10));
        let most = BitRate::from_mbit(BitRate::MOST).unwrap().bytes();
        assert_eq!((burst(most), queue(most)), (250_000_000, 1_250_000_000));
    }
}
