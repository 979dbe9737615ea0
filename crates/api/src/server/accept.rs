//! Taking the next connection.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How long to wait when the process has no descriptor left for a connection: until others close.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection. Errors are logged and outlived: they are either one client's, or pass.
pub(super) async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and written at once; waiting to fill a packet only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection keeps Nagle's algorithm");
                }
                return stream;
            }
            Err(error) if is_clients(&error) => {
                tracing::debug!(%error, "a connection was gone before it began");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether only this one connection is affected (accept(2), "Error handling").
fn is_clients(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}
