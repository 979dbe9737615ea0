//! Just enough HTTP to ask a seat how it is.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Stop;

/// Asks once for `GET {endpoint}/health`; anything but a 200 is a failure.
pub(crate) async fn healthy(endpoint: &str, patience: Duration) -> Result<(), Stop> {
    let answer = timeout(patience, get(endpoint, "/health"))
        .await
        .map_err(|_| Stop::fail(format!("{endpoint} does not answer within {patience:?}")))??;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(
        status.starts_with("HTTP/1.1 200") || status.starts_with("HTTP/1.0 200"),
        "{endpoint}/health answers {status:?}"
    );
    Ok(())
}

/// Whether something accepts and answers there at all.
pub(crate) async fn answers(endpoint: &str, patience: Duration) -> bool {
    matches!(timeout(patience, get(endpoint, "/health")).await, Ok(Ok(answer)) if !answer.is_empty())
}

async fn get(endpoint: &str, path: &str) -> Result<String, Stop> {
    let address = endpoint
        .strip_prefix("http://")
        .filter(|address| !address.contains('/'))
        .ok_or_else(|| Stop::fail(format!("{endpoint:?} is not http://address:port")))?;
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| Stop::fail(format!("cannot connect to {endpoint}: {error}")))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
