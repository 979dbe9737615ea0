//! What the keeper opens for the monitor.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use hostnet::tap::Tap;

use super::Open;
use crate::vmm::RunFolder;

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
            let tap = name.parse().map_err(io::Error::other).and_then(|name| Tap::attach_kept(&name));
            tap.map(|tap| tap.into_file().into())
                .map_err(|why| io::Error::new(why.kind(), format!("TAP device {name}: {why}")))
        }
    }
}
