//! What the shell scripts did: one `docker` command after the other.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::objects::{container_name, environment, labels, network_name, volume_name};
use super::ways::Made;
use crate::child::output;

const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

/// The scripts' way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scripts<'a> {
    pub(super) workshop: &'a str,
}

impl Scripts<'_> {
    /// `network create`, then per seat `volume create`, `run -d`, `inspect`. Waits for no workspace: they did not.
    pub(super) async fn create(self, seats: u16, image: &str) -> Result<Made> {
        let network = network_name(self.workshop);
        let mut command = docker(&["network", "create", "--driver", "bridge"]);
        label(&mut command, "workshop-network", self.workshop, None);
        output(command.arg(&network)).await?;
        let mut made = Made::default();
        for seat in 1..=seats {
            made.addresses.push(make(self.workshop, seat, image, &network).await?);
        }
        Ok(made)
    }

    /// Per seat `stop`, `rm`, `volume rm`, then `network rm`.
    pub(super) async fn destroy(self, seats: u16) -> Result<()> {
        for seat in 1..=seats {
            let name = container_name(self.workshop, seat);
            output(&mut docker(&["stop", &name])).await?;
            output(&mut docker(&["rm", &name])).await?;
            output(&mut docker(&["volume", "rm", &volume_name(self.workshop, seat)])).await?;
        }
        output(&mut docker(&["network", "rm", &network_name(self.workshop)])).await.map(drop)
    }
}

async fn make(workshop: &str, seat: u16, image: &str, network: &str) -> Result<IpAddr> {
    let volume = volume_name(workshop, seat);
    let mut command = docker(&["volume", "create"]);
    label(&mut command, "workspace-data", workshop, Some(seat));
    output(command.arg(&volume)).await?;

    let name = container_name(workshop, seat);
    let mut command = docker(&["run", "--detach", "--restart", "unless-stopped"]);
    command.args(["--name", &name, "--hostname", &format!("seat-{seat}"), "--network", network]);
    command.args(["--volume", &format!("{volume}:/workspace")]);
    label(&mut command, "learner-workspace", workshop, Some(seat));
    for variable in environment(seat) {
        command.args(["--env", &variable]);
    }
    output(command.arg(image)).await?;

    let address = output(&mut docker(&["inspect", "--format", ADDRESS, &name])).await?;
    address.trim().parse().with_context(|| format!("{name} has no address: {address}"))
}

fn label(command: &mut Command, kind: &str, workshop: &str, seat: Option<u16>) {
    for (key, value) in labels(kind, workshop, seat) {
        command.args(["--label", &format!("{key}={value}")]);
    }
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    // A terminal's Ctrl-C is this program's to answer.
    command.args(arguments).process_group(0).kill_on_drop(true);
    command
}
