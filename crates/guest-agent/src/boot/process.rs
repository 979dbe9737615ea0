//! Outside of a machine: what the program says of itself, and an agent for tests.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use guest_protocol::GENERATION;
use guest_protocol::link::accept;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{print, stop_on_signals};
use crate::console::say;
use crate::guest::Guest;
use crate::seat::Bare;
use crate::serve;

/// How long a link may take to end.
const LAST: Duration = Duration::from_secs(2);
const HELP: &str = "clarateach guest agent: the first process of a microVM. Outside of one it can only\n\
  --version      say which it is\n\
  serve SOCKET   serve its protocol on a unix socket, with programs in this system; for tests";

/// What the arguments say.
pub(super) fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--version"] => {
            print(&format!("clarateach guest agent {}, generation {GENERATION}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        ["serve", path] => match serve_at(Path::new(path)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                say(why);
                ExitCode::FAILURE
            }
        },
        _ => {
            print(HELP);
            ExitCode::from(2)
        }
    }
}

fn serve_at(path: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| format!("no runtime: {why}"))?.block_on(serve(path))
}

async fn serve(path: &Path) -> Result<(), String> {
    let guest = Guest::new(Box::new(Bare));
    // Orphans become ours, as they do of the first process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|why| format!("orphans cannot be taken: {why}"))?;
    guest.reaper.run().map_err(|why| format!("children cannot be waited for: {why}"))?;
    stop_on_signals(&guest)?;
    // One that an agent left which was killed.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        drop(std::fs::remove_file(path));
    }
    let listener = UnixListener::bind(path).map_err(|why| format!("{}: {why}", path.display()))?;
    print("ready");
    let mut link = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.map_err(|why| format!("{}: {why}", path.display()))?;
                // A new link ends the old one.
                link.shutdown().await;
                let guest = guest.clone();
                link.spawn(async move {
                    // As on a port: after one beginning there can be another.
                    let mut stream = stream;
                    while !guest.is_over() && let Ok(accepted) = accept(&mut stream).await {
                        serve::connection(&guest, accepted).await;
                    }
                });
            }
            () = guest.over() => break,
        }
    }
    // What it is still asked is answered; what waits for a question is not.
    drop(timeout(LAST, link.join_next()).await);
    guest.power_off();
    drop(std::fs::remove_file(path));
    Ok(())
}
