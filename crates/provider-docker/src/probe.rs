//! Does a workspace answer? A TCP connection to each of its ports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take. On the host's own bridges an open port answers within a millisecond, and a
/// closed one refuses as fast.
const CONNECT: Duration = Duration::from_millis(500);

/// How long a published port is watched after it was accepted. The engine's proxy accepts for a workspace that
/// does not listen, and closes once its own connection is refused.
const LINGER: Duration = Duration::from_millis(50);

/// Where the ports of a seat are reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The port inside the seat, for messages, and the `host:port` to connect to.
    pub(crate) ports: Vec<(u16, String)>,
    /// Through the engine's proxy, rather than to the container itself.
    pub(crate) proxied: bool,
}

impl Target {
    /// The container's own address.
    pub(crate) fn direct(ip: IpAddr, ports: &[u16]) -> Self {
        let ports = ports.iter().map(|port| (*port, SocketAddr::new(ip, *port).to_string())).collect();
        Self { ports, proxied: false }
    }
}

/// Connects to all ports side by side.
///
/// # Errors
/// With the first port that does not answer, and why.
pub(crate) async fn answers(target: &Target) -> Result<(), String> {
    let tries = target.ports.iter().map(|(port, address)| async move {
        reach(address, target.proxied).await.map_err(|why| format!("port {port} does not answer ({why})"))
    });
    futures_util::future::try_join_all(tries).await.map(|_| ())
}

async fn reach(address: &str, proxied: bool) -> Result<(), String> {
    let mut stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.kind().to_string()),
        Err(_) => return Err(format!("{address} cannot be reached from this service")),
    };
    if proxied {
        // Silence is a server that waits for a request; an end is a proxy with nobody behind it.
        match timeout(LINGER, stream.read(&mut [0])).await {
            Err(_) | Ok(Ok(1)) => {}
            Ok(_) => return Err("connection refused behind the published port".to_owned()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn tells_an_open_port_from_a_closed_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let target =
            |address: SocketAddr, proxied| Target { ports: vec![(3001, address.to_string())], proxied };
        assert_eq!(answers(&target(open, false)).await, Ok(()));
        assert_eq!(answers(&target(open, true)).await, Ok(()));
        drop(listener);
        let error = answers(&target(open, false)).await.unwrap_err();
        assert_eq!(error, "port 3001 does not answer (connection refused)");
    }

    #[tokio::test]
    async fn a_proxy_with_nobody_behind_it_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok(accepted) = listener.accept().await {
                drop(accepted);
            }
        });
        let target = Target { ports: vec![(3001, address.to_string())], proxied: true };
        assert!(answers(&target).await.unwrap_err().contains("behind the published port"));
    }
}
