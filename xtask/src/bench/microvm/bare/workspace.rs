//! From a bare guest whose agent waits to one whose workspace takes connections: what the service does, by hand.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use guest_protocol::client::{Agent, LinkOptions};
use guest_protocol::{EnvVar, GuestConfig, Limits, Phase, Resolver, Run, Workspace};
use tokio::net::{TcpStream, UnixStream};

use super::{HANG, disks, network};
use crate::bench::microvm::host::Host;
use crate::bench::microvm::seat::SEAT;
use crate::bench::objects::{PIDS, PORTS, environment};

/// Between two tries of a port: no shorter than the service's, because the guest has to answer each.
const BETWEEN: Duration = Duration::from_millis(5);
/// A packet that was lost is not waited for.
const CONNECT: Duration = Duration::from_millis(100);

/// Configures the guest and waits until both ports of its workspace take connections.
pub(super) async fn ready<W>(host: &Host, stream: impl Fn() -> W) -> Result<()>
where
    W: Future<Output = io::Result<UnixStream>>,
{
    let ready = async {
        let options = LinkOptions { connect: HANG, call: HANG, ..LinkOptions::default() };
        let agent = Agent::reach(stream, options).await.context("the bare guest's agent does not answer")?;
        agent.configure(&config(disks::run(host)?)?).await.context("the bare guest is not configured")?;
        // What is sent to a guest that has no address yet is lost.
        let mut watch = agent.watch().await?;
        loop {
            let health = watch.next().await?.context("the bare guest's agent has ended")?;
            match health.phase {
                Phase::Running => break,
                Phase::Failed => bail!("the bare guest cannot be prepared: {health:?}"),
                _ => {}
            }
        }
        for port in PORTS {
            let address = (network::GUEST, port);
            while !matches!(tokio::time::timeout(CONNECT, TcpStream::connect(address)).await, Ok(Ok(_))) {
                ensure!(
                    !agent.is_closed(),
                    "the bare command ended before the workspace of its guest was up"
                );
                tokio::time::sleep(BETWEEN).await;
            }
        }
        Ok(())
    };
    tokio::time::timeout(HANG, ready).await.context("the workspace of the bare guest does not come up")?
}

/// What the service tells the guest of a seat.
fn config(run: Run) -> Result<GuestConfig> {
    let network = network::of_guest();
    let nameservers = network.gateway.map(Into::into).into_iter().collect();
    let seat = environment(SEAT).into_iter();
    let env = ["MICROVM_MODE=true".to_owned()].into_iter().chain(seat).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some(EnvVar::open(name, value))
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(GuestConfig {
        resolver: Some(Resolver { nameservers, ..Resolver::default() }),
        network: Some(network),
        clock_unix_ns: u64::try_from(now.as_nanos()).ok(),
        entropy: disks::random::<64>()?.to_vec().into(),
        env: env.collect(),
        limits: Limits { pids: Some(PIDS) },
        workspace: Some(Workspace { path: "/workspace".parse()? }),
        ..GuestConfig::new(format!("bare/{SEAT}"), format!("seat-{SEAT}"), "0123456789abcdef".repeat(2), run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_guest_is_told_what_a_seat_is() {
        let run = Run { entrypoint: vec!["/bin/testbed".into()], ..Run::default() };
        let config = config(run.clone()).unwrap();
        assert_eq!(config.run, run);
        assert_eq!(config.network.map(|network| network.address), Some(network::GUEST));
        assert_eq!((config.limits.pids, config.entropy.expose().len()), (Some(PIDS), 64));
        let value = |name: &str| config.env.iter().find(|var| var.name == name).map(|var| var.value.expose());
        assert_eq!(value("MICROVM_MODE"), Some("true"));
        assert_eq!(value("TERMINAL_PORT"), Some("3001"));
        assert!(config.workspace.is_some_and(|workspace| workspace.path == "/workspace".parse().unwrap()));
    }
}
