//! Files as archives (tar), in the seat's root and nowhere else.
//!
//! A path is resolved inside the root, whatever links are on the way (openat2(2), `RESOLVE_IN_ROOT`). What the kernel makes up, as
//! `/proc`, is neither read nor written. Down: links are archived as links, never followed. Up: an entry stays below the folder that
//! was named (`RESOLVE_BENEATH`), and a file is there as a whole or as it was.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use guest_protocol::{FilesQuery, GuestPath, Owner, Problem, ProblemCode};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;

use super::answer::{self, Body};
use super::files_down::{self, Found};
use super::files_up::{self, Unpack};
use crate::console::say;
use crate::guest::Guest;
use crate::run::resolve_user;

/// How many pieces of an upload may wait for the disk.
const WAITING: usize = 4;
/// File systems that the kernel makes up (linux/magic.h): proc, sysfs, cgroup2, securityfs, debugfs, tracefs, bpf.
const MADE_UP: [u64; 7] =
    [0x9fa0, 0x6265_6572, 0x6367_7270, 0x7363_6673, 0x6462_6720, 0x7472_6163, 0xcafe_4a11];

pub(super) fn down(guest: &Arc<Guest>, query: FilesQuery) -> Result<Response<Body>, Problem> {
    guest.seat()?;
    let permit = permit(guest)?;
    let found = Found::open(&query.path)?;
    let (sender, response) = answer::pieces();
    spawn_blocking(move || {
        let _permit: OwnedSemaphorePermit = permit;
        if let Err(why) = files_down::write(found, sender.clone()) {
            // One that went away needs no reason.
            if sender.blocking_send(Err(io::Error::other(why.to_string()))).is_ok() {
                say(format_args!("{} cannot be read: {why}", query.path));
            }
        }
    });
    Ok(response)
}

pub(super) async fn up(
    guest: &Arc<Guest>,
    query: FilesQuery,
    mut body: Incoming,
) -> Result<Response<Body>, Problem> {
    let seat = guest.seat()?;
    let permit = permit(guest)?;
    let owner = match query.owner {
        Owner::Archive => None,
        Owner::Workload => {
            let user = resolve_user(&seat.config.run.user);
            let user = user.map_err(|why| Problem::new(ProblemCode::NotFound, why))?;
            Some((user.uid, user.gid))
        }
    };
    let folder = open(&query.path, OFlags::PATH | OFlags::DIRECTORY)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let unpacking = spawn_blocking(move || {
        let _permit: OwnedSemaphorePermit = permit;
        files_up::unpack(Upload { receiver, rest: Bytes::new() }, &Unpack { folder, owner })
    });
    loop {
        let piece = match body.frame().await {
            None => break,
            // Trailers say nothing here.
            Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
            Some(Err(why)) => Err(io::Error::other(format!("the archive did not come as a whole: {why}"))),
        };
        // It has ended: why is what it says itself.
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    match unpacking.await {
        Ok(Ok(())) => Ok(answer::nothing()),
        Ok(Err(problem)) => Err(problem),
        Err(panicked) => Err(Problem::new(ProblemCode::Failed, format!("the agent failed: {panicked}"))),
    }
}

fn permit(guest: &Guest) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = guest.archives.clone().try_acquire_owned();
    permit.map_err(|_| Problem::new(ProblemCode::Busy, "too many archives are read and written already"))
}

/// Opens something of the seat by its path.
pub(super) fn open(path: &GuestPath, flags: OFlags) -> Result<OwnedFd, Problem> {
    let told = |why: rustix::io::Errno| {
        let code = match why {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => ProblemCode::NotFound,
            _ => ProblemCode::Failed,
        };
        Problem::new(code, format!("{path} cannot be opened: {}", io::Error::from(why)))
    };
    let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(told)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found =
        openat2(&root, path.below_root(), flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(told)?;
    if is_made_up(&found) {
        return Err(Problem::new(
            ProblemCode::Invalid,
            format!("{path} is no file of the seat: the kernel makes it up"),
        ));
    }
    Ok(found)
}

/// Whether this is of a file system that the kernel makes up.
pub(super) fn is_made_up(file: impl AsFd) -> bool {
    // The types of the numbers differ between processors.
    rustix::fs::fstatfs(file).is_ok_and(|found| MADE_UP.contains(&(found.f_type as u64)))
}

/// What kind of file this is.
pub(super) fn kind(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// An upload as something to read.
struct Upload {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl io::Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let size = self.rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&self.rest.split_to(size));
        Ok(size)
    }
}
