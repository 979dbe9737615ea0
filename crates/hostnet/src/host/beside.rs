//! What changes on the host beside us, and what seats need then.

use super::HostNet;
use crate::error::NetError;

impl HostNet {
    /// Has seats reach the world past a Docker engine that came, or came back, after a workshop was made. To be called now and then, and when
    /// [`HostNet::bridge_made`] returns; it starts other programs, which seats are not to wait for.
    ///
    /// # Errors
    /// What failed; the rest is done, and it may be repeated.
    pub async fn keep_reaching(&self) -> Result<(), NetError> {
        self.let_docker_pass().await
    }

    /// Waits until a bridge was made that nobody was told of.
    pub async fn bridge_made(&self) {
        self.bridge_made.notified().await;
    }
}
