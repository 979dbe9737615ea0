//! What the keeper opens for the monitor.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use hostnet::IfName;
use hostnet::tap::Tap;

use super::Open;
use crate::vmm::RunFolder;
use crate::vmm::pause::pause;

/// How often a TAP device that somebody holds is tried, and how long after each time: two seconds.
const TAP_TRIES: u32 = 200;
const TAP_PAUSE: Duration = Duration::from_millis(10);

/// Opens one thing. It is closed on `exec` until the child says otherwise.
pub(super) fn open(what: &Open, folder: &RunFolder) -> io::Result<OwnedFd> {
    match what {
        Open::File { path, write } => OpenOptions::new()
            .read(true)
            .write(*write)
            .open(path)
            .map(OwnedFd::from)
            .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", path.display()))),
        Open::Listener { name } => {
            let listener = folder.with_short(name, |path| UnixListener::bind(path));
            listener.map(OwnedFd::from).map_err(|why| {
                io::Error::new(why.kind(), format!("socket {name} in {}: {why}", folder.path().display()))
            })
        }
        Open::Tap { name } => {
            let tap = name.parse().map_err(io::Error::other).and_then(|name| attach(&name));
            tap.map(|tap| tap.into_file().into())
                .map_err(|why| io::Error::new(why.kind(), format!("TAP device {name}: {why}")))
        }
    }
}

/// Opens a device that is there. Whoever made it held it, and a program that was just started then has it open as well until it is another program (close-on-exec of
/// `execve(2)`), which takes its time on a busy host.
fn attach(name: &IfName) -> io::Result<Tap> {
    for _ in 1..TAP_TRIES {
        match Tap::attach_kept(name) {
            Err(why) if why.kind() == io::ErrorKind::ResourceBusy => pause(TAP_PAUSE),
            attached => return attached,
        }
    }
    Tap::attach_kept(name)
}
