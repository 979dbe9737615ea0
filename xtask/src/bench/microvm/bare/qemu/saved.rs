//! The same guest saved by hand, and gone on from.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use guest_protocol::link;
use serde_json::json;
use tokio::net::UnixStream;

use super::super::{AGAIN, HANG, Restored};
use super::{AGENT, Host, MEMORY_MIB, Place, Qemu, command};
use crate::bench::microvm::seat::LOOK;

/// A guest that waits for its host, in files.
pub(in crate::bench::microvm) struct Saved {
    memory: PathBuf,
    state: PathBuf,
}

impl Saved {
    /// Boots the guest and saves it.
    pub(in crate::bench::microvm) async fn make(host: &Host) -> Result<Self> {
        let folder = host.folder().join("saved");
        std::fs::create_dir(&folder)?;
        let saved = Self { memory: folder.join("memory"), state: folder.join("state") };
        let backend = format!("memory-backend-file,share=on,{}", saved.backend());
        let place = Place::make(host, 0)?;
        let mut qemu = Qemu::start(command(host, &place, &[backend])?, &place.folder).await?;
        qemu.asked("cont", json!({})).await?;
        qemu.boot().await?;
        qemu.asked("stop", json!({})).await?;
        let to = format!("exec:cat > {}", saved.state.display());
        qemu.migrated("migrate", &to).await?;
        qemu.child.kill().await?;
        Ok(saved)
    }

    /// Goes on from it once.
    pub(in crate::bench::microvm) async fn restore(&self, host: &Host) -> Result<Restored> {
        let place = Place::make(host, 0)?;
        let mut qemu = self.going_on(host, &place).await?;
        let run = qemu.began.elapsed();
        qemu.reach().await?;
        let agent = qemu.began.elapsed() - run;
        qemu.child.kill().await?;
        Ok(Restored { run, agent })
    }

    /// Starts a command that goes on from it, and waits until its processors run.
    pub(in crate::bench::microvm::bare) async fn going_on(&self, host: &Host, place: &Place) -> Result<Qemu> {
        let backend = format!("memory-backend-file,share=off,{}", self.backend());
        let more = [backend, "-incoming".to_owned(), "defer".to_owned()];
        let mut qemu = Qemu::start(command(host, place, &more)?, &place.folder).await?;
        qemu.migrated("migrate-incoming", &format!("exec:cat {}", self.state.display())).await?;
        qemu.asked("cont", json!({})).await?;
        Ok(qemu)
    }

    fn backend(&self) -> String {
        format!("id=memory,size={MEMORY_MIB}M,mem-path={}", self.memory.display())
    }
}

impl Qemu {
    /// Waits until the guest's agent answers its host.
    pub(in crate::bench::microvm::bare) async fn reach(&self) -> Result<()> {
        let mut stream = UnixStream::connect(self.folder.join(AGENT)).await?;
        let opened = tokio::time::timeout(HANG, link::open(&mut stream, AGAIN)).await;
        opened.context("the guest that was saved does not answer")??;
        Ok(())
    }

    /// Moves the machine's state, without its memory, and waits until that is done.
    async fn migrated(&mut self, command: &str, uri: &str) -> Result<()> {
        let memory_stays = json!([{ "capability": "x-ignore-shared", "state": true }]);
        self.asked("migrate-set-capabilities", json!({ "capabilities": memory_stays })).await?;
        self.asked(command, json!({ "uri": uri })).await?;
        loop {
            let info = self.asked("query-migrate", json!({})).await?;
            match info["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed") => bail!("the bare QEMU command fails at {command}: {info}"),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}
