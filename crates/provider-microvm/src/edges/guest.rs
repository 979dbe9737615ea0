//! Real agents.

use std::time::Duration;

use async_trait::async_trait;
use guest_protocol::client::{Agent, ClientError, Watch};
use guest_protocol::{GuestConfig, Health};

use super::{Changes, Guest};

/// An agent at the other end of a link.
#[derive(Debug)]
pub(super) struct RealGuest(pub(super) Agent);

#[async_trait]
impl Guest for RealGuest {
    async fn health(&self) -> Result<Health, ClientError> {
        self.0.health().await
    }

    async fn configure(&self, config: &GuestConfig) -> Result<Health, ClientError> {
        self.0.configure(config).await
    }

    async fn watch(&self) -> Result<Box<dyn Changes>, ClientError> {
        Ok(Box::new(RealChanges(self.0.watch().await?)))
    }

    async fn set_time(&self, unix_ns: u64) -> Result<(), ClientError> {
        self.0.set_time(unix_ns).await
    }

    async fn stop(&self, deadline: Duration) -> Result<(), ClientError> {
        self.0.stop(deadline).await
    }

    fn agent(&self) -> Option<Agent> {
        Some(self.0.clone())
    }
}

struct RealChanges(Watch);

#[async_trait]
impl Changes for RealChanges {
    async fn next(&mut self) -> Result<Option<Health>, ClientError> {
        self.0.next().await
    }
}
