//! Runs `nft`, which is not on the way of a seat: the rules are put there once.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(20);

/// Carries out a text as one transaction.
pub(crate) const APPLY: &[&str] = &["-f", "-"];

/// Has the kernel look at a text, all of it, and change nothing.
pub(crate) const CHECK: &[&str] = &["-c", "-f", "-"];

/// Runs `nft` with these arguments and this standard input; its standard output.
///
/// # Errors
/// With what `nft` says, or why it cannot be run.
pub(crate) async fn run(arguments: &[&str], input: &str) -> Result<String, String> {
    let spawned = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(
                "the program nft is not installed (Debian and Ubuntu: apt install nftables)".to_owned()
            );
        }
        Err(error) => return Err(format!("nft cannot be run: {error}")),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why on its standard error.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    match tokio::time::timeout(LIMIT, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("nft says: {}", said.lines().next().unwrap_or("nothing, and failed")))
        }
        Ok(Err(error)) => Err(format!("nft: {error}")),
        Err(_) => Err(format!("nft did not end within {} s", LIMIT.as_secs())),
    }
}
