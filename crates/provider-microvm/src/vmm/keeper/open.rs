//! What the keeper opens for the monitor.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use super::{Open, tap};
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
        Open::Tap { name } => tap::open(name),
    }
}
