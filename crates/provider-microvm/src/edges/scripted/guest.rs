//! The agent in a scripted VM.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use guest_protocol::client::{Agent, ClientError};
use guest_protocol::{GuestConfig, Health, Phase, WorkloadState};
use tokio::sync::watch;

use super::ScriptedMachine;
use crate::edges::{Changes, Guest};
use crate::vmm::How;

pub(super) struct ScriptedGuest(pub(super) Arc<ScriptedMachine>);

impl Drop for ScriptedGuest {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lost(why: String) -> ClientError {
    ClientError::Lost { what: "do as scripted", why }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[async_trait]
impl Guest for ScriptedGuest {
    async fn health(&self) -> Result<Health, ClientError> {
        let behind = *self.0.behind_ms.lock().unwrap();
        let told = self.0.health.borrow().clone();
        Ok(Health { clock_unix_ms: now_ms() - behind, ..told })
    }

    async fn configure(&self, config: &GuestConfig) -> Result<Health, ClientError> {
        let world = self.0.world().clone();
        let configured = world.step("configure".into(), lost, |_| {
            if self.0.loses {
                return Err(lost("it went on from a snapshot".into()));
            }
            *self.0.config.lock().unwrap() = Some(config.clone());
            self.0.tell(|health| {
                health.phase = Phase::Running;
                health.workload.state = WorkloadState::Running;
            });
            Ok(())
        });
        configured.await?;
        self.health().await
    }

    async fn watch(&self) -> Result<Box<dyn Changes>, ClientError> {
        let mut told = self.0.health.subscribe();
        told.mark_changed();
        Ok(Box::new(ScriptedChanges { told, machine: self.0.clone() }))
    }

    async fn set_time(&self, _: u64) -> Result<(), ClientError> {
        *self.0.behind_ms.lock().unwrap() = 0;
        Ok(())
    }

    async fn stop(&self, _: Duration) -> Result<(), ClientError> {
        let world = self.0.world().clone();
        let stopped = world.step("stop".into(), lost, |_| Ok(())).await;
        if stopped.is_ok() {
            self.0.end(How::Code(0));
        }
        stopped
    }

    fn agent(&self) -> Option<Agent> {
        None
    }
}

struct ScriptedChanges {
    told: watch::Receiver<Health>,
    machine: Arc<ScriptedMachine>,
}

#[async_trait]
impl Changes for ScriptedChanges {
    async fn next(&mut self) -> Result<Option<Health>, ClientError> {
        tokio::select! {
            _ = self.told.changed() => Ok(Some(self.told.borrow_and_update().clone())),
            _ = self.machine.ended() => Ok(None),
            () = self.machine.hears(false) => Err(lost("it was not heard of any more".into())),
        }
    }
}
