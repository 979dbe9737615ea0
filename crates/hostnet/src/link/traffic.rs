//! Redirection of all frames of one interface to another (tc(8)), over rtnetlink.

use futures_util::TryStreamExt;
use netlink_packet_route::tc::{
    TcActionAttribute, TcActionMirrorOption, TcActionOption, TcAttribute, TcFilterU32Option, TcMessage,
    TcOption,
};

use super::{Answer, Links, absent_is_fine};

/// `ETH_P_ALL` of `linux/if_ether.h` in network byte order, as the filter's header has it.
const ALL: u16 = 0x0003_u16.to_be();

impl Links {
    /// Sends everything that comes in at one interface out of another, in place of what its ingress qdisc did.
    pub(crate) async fn redirect_all(&self, from: u32, to: u32) -> Answer<()> {
        let index = i32::try_from(from).map_err(std::io::Error::other)?;
        let mut handle = self.handle.qdisc();
        let request = handle.del(index);
        // `TC_H_INGRESS` of `linux/pkt_sched.h`; there may be none.
        let mut request = request;
        request.message_mut().header.parent = netlink_packet_route::tc::TcHandle::INGRESS;
        drop(absent_is_fine(self.request(request.execute()).await));
        self.request(handle.add(index).ingress().execute()).await?;
        let filter = self.handle.traffic_filter(index).add().parent(0xffff_0000).protocol(ALL);
        let filter = filter.redirect(to).map_err(std::io::Error::other)?;
        self.request(filter.execute()).await
    }

    /// Where the filters of an interface's ingress qdisc send frames.
    pub(crate) async fn redirects(&self, from: u32) -> Answer<Vec<u32>> {
        let index = i32::try_from(from).map_err(std::io::Error::other)?;
        let mut get = self.handle.traffic_filter(index);
        let get = get.get().ingress();
        let found: Vec<TcMessage> = self.request(async move { get.execute().try_collect().await }).await?;
        Ok(found.iter().flat_map(|filter| filter.attributes.iter()).flat_map(targets).collect())
    }
}

fn targets(attribute: &TcAttribute) -> Vec<u32> {
    let TcAttribute::Options(options) = attribute else { return Vec::new() };
    let actions = options.iter().filter_map(|option| match option {
        TcOption::U32(TcFilterU32Option::Action(actions)) => Some(actions),
        _ => None,
    });
    let parts = actions.flatten().flat_map(|action| &action.attributes).filter_map(|part| match part {
        TcActionAttribute::Options(options) => Some(options),
        _ => None,
    });
    parts
        .flatten()
        .filter_map(|option| match option {
            TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror)) => Some(mirror.ifindex),
            _ => None,
        })
        .collect()
}
