//! What changes on the host beside us, and what seats need then.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::PoisonError;

use super::HostNet;
use crate::error::NetError;

impl HostNet {
    /// Has seats reach the world by whatever way the host has now: by a bridge whose default route came after the rules, and past a Docker engine
    /// that came, or came back, after a workshop was made. To be called now and then, and when [`HostNet::bridge_made`] returns; it starts
    /// other programs, which seats are not to wait for.
    ///
    /// # Errors
    /// What failed; the rest is done, and it may be repeated.
    pub async fn keep_reaching(&self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        errors.extend(self.follow_uplinks().await.err());
        errors.extend(self.let_docker_pass().await.err());
        NetError::collected(errors)
    }

    /// Lets seats ask these for names, and nobody else whom they may not reach otherwise: those that they are told of now. To be called now and then; as
    /// long as they stay the same it does nothing.
    ///
    /// # Errors
    /// As of [`HostNet::ensure_table`], which then is to be repeated.
    pub async fn follow_resolvers(&self, now: BTreeSet<Ipv4Addr>) -> Result<(), NetError> {
        let is_same = self.applied.lock().await.as_ref().map(|applied| applied.resolvers == now);
        if is_same == Some(true) {
            return Ok(());
        }
        if is_same == Some(false) {
            let names: Vec<_> = now.iter().map(ToString::to_string).collect();
            tracing::info!(
                name_servers = names.join(", "),
                "seats are told of other name servers than before, and so may ask those"
            );
        }
        *self.resolvers.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.ensure_table().await
    }

    /// Waits until a bridge was made that nobody was told of.
    pub async fn bridge_made(&self) {
        self.bridge_made.notified().await;
    }

    async fn follow_uplinks(&self) -> Result<(), NetError> {
        let uplinks = self.bridges_to_the_world().await?;
        let is_other = self.applied.lock().await.as_ref().is_some_and(|applied| applied.uplinks != uplinks);
        if is_other {
            let over: Vec<_> = uplinks.iter().map(ToString::to_string).collect();
            tracing::info!(
                bridges = over.join(", "),
                "this host reaches the world over other bridges than before, and so may seats"
            );
            self.ensure_table().await?;
        }
        Ok(())
    }
}
