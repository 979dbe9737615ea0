//! What is in the folder of a VM.
//!
//! ```text
//!   {folder}/            of root alone, mode 0700
//!     keeper.lock        held by the keeper as long as it lives: one VM a folder; holds the Owner
//!     launch.lock        held by the keeper until the VM is confirmed or given up; who holds it shared knows how a start ended
//!     qmp.sock           the monitor's control socket      ─┐ made by the keeper, which hands them over listening;
//!     agent.sock         the guest agent's byte stream     ─┘ the monitor's user cannot reach this folder
//!     vmm/               Firecracker's own folder, in which it begins and makes
//!       api.sock           its API's socket
//!       agent.sock         its vsock device's
//!       metrics.pipe       what it counts, a line a minute; made by the service, beside the socket
//!     jail/              in its place when Firecracker is jailed: what it has for its `/` is in there, with these sockets
//!     vmm.json           the Identity, from the confirmation to the end of the VM
//!     exit.json          the Exit, from the end of the VM to the next start
//! ```
//!
//! Files are written beside their place and renamed, so that a kill leaves the old one or the new one; they are not synced, because all of them
//! speak of this run of the host. Sockets are made and found through `/proc/self/fd/N/name`, so that the folder's path may
//! be longer than the 107 bytes that an address has room for (unix(7)).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::{Exit, Identity, ProcessId, UserIds, jail};

pub(super) const QMP: &str = "qmp.sock";
pub(super) const AGENT: &str = "agent.sock";
/// The folder of a monitor that makes its sockets itself.
const VMM: &str = "vmm";
/// The folder of a jail.
const JAIL: &str = "jail";
pub(super) const API: &str = "api.sock";
pub(super) const METRICS: &str = "metrics.pipe";
const IDENTITY: &str = "vmm.json";
const EXIT: &str = "exit.json";
const KEEPER_LOCK: &str = "keeper.lock";
const LAUNCH_LOCK: &str = "launch.lock";

/// The folder of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

/// Who has the lock of a folder, and what has to be removed after him: known before there is anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) boot_id: String,
    pub(super) keeper: ProcessId,
    /// Nothing before it is started.
    pub(super) vmm: Option<ProcessId>,
    /// Parent and name.
    pub(super) cgroup: Option<(String, String)>,
}

/// The name of a file until it is whole.
fn unfinished(name: &str) -> String {
    format!("{name}.new")
}

impl RunFolder {
    /// Names a folder; it is made when a VM is started in it, but not the one it is in.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The identity of the VM in it; nothing when there is no complete VM.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn identity(&self) -> io::Result<Option<Identity>> {
        self.read(IDENTITY)
    }

    /// How the last VM in it ended; nothing when that is not known, or one runs.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn exit(&self) -> io::Result<Option<Exit>> {
        self.read(EXIT)
    }

    /// Makes the folder when it is not there.
    pub(super) fn make(&self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists && self.0.is_dir() => Ok(()),
            other => other,
        }
    }

    pub(super) fn write_identity(&self, identity: &Identity) -> io::Result<()> {
        self.write(IDENTITY, identity)
    }

    pub(super) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        self.write(EXIT, exit)
    }

    /// Removes what only a running VM has.
    pub(super) fn remove_live(&self) -> io::Result<()> {
        [IDENTITY, QMP, AGENT].iter().try_for_each(|name| self.remove(name))?;
        // What a keeper was writing when it was killed.
        [IDENTITY, EXIT].iter().try_for_each(|name| self.remove(&unfinished(name)))?;
        // What is in these was made by the monitor's user, whose links are not followed.
        match fs::remove_dir_all(self.vmm()) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        jail::remove(&self.jail())
    }

    /// The folder of a monitor that makes its sockets itself, and is not jailed.
    pub(super) fn vmm(&self) -> PathBuf {
        self.0.join(VMM)
    }

    /// The folder of a monitor's jail, and of nothing else.
    pub(super) fn jail(&self) -> PathBuf {
        self.0.join(JAIL)
    }

    /// Makes that folder, for a user, and opens it. This folder hides it from him, but a process that begins in it needs no way to it.
    pub(super) fn make_vmm(&self, user: Option<UserIds>) -> io::Result<OwnedFd> {
        let vmm = self.vmm();
        Self(vmm.clone()).make()?;
        let opened = rustix::fs::open(&vmm, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if let Some(UserIds { uid, gid }) = user {
            rustix::fs::fchown(&opened, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(opened)
    }

    pub(super) fn remove_exit(&self) -> io::Result<()> {
        self.remove(EXIT)
    }

    /// The lock that a keeper holds as long as it lives.
    pub(super) fn keeper_lock(&self) -> io::Result<File> {
        self.lock_file(KEEPER_LOCK)
    }

    /// Who has that lock, or had it last.
    pub(super) fn owner(&self) -> io::Result<Option<Owner>> {
        self.read(KEEPER_LOCK)
    }

    /// Writes into the lock, by him who holds it, who he is. Not beside it and renamed: the lock is the file's.
    pub(super) fn write_owner(lock: &File, owner: &Owner) -> io::Result<()> {
        let text = serde_json::to_vec(owner)?;
        // In this order: a keeper that is killed in between, and has something to be removed after him, only added to it, and leaves it whole.
        lock.write_all_at(&text, 0)?;
        lock.set_len(text.len() as u64)
    }

    /// The lock that a keeper holds while it is not decided whether there will be a VM.
    pub(super) fn launch_lock(&self) -> io::Result<File> {
        self.lock_file(LAUNCH_LOCK)
    }

    /// That lock, to wait for whoever holds it; nothing where there is none. It is not made: a look leaves nothing in a folder that somebody may be removing.
    pub(super) fn launch_lock_that_is_there(&self) -> io::Result<Option<File>> {
        match File::open(self.0.join(LAUNCH_LOCK)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Runs something with a short path to what is in the folder.
    pub(super) fn with_short<T>(
        &self,
        name: &str,
        run: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY).bits()).map_err(io::Error::other)?;
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(&self.0)?;
        run(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
    }

    /// Connects to a socket in the folder. Needs a runtime of tokio.
    pub(super) fn connect(&self, name: &str) -> io::Result<UnixStream> {
        // A unix socket connects at once or not at all, but for a full queue of its listener, which is an error here.
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        self.with_short(name, |path| Ok(connect(&socket, &SocketAddrUnix::new(path)?)?))?;
        UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.0.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let new = self.0.join(unfinished(name));
        let written = (|| {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            fs::rename(&new, self.0.join(name))
        })();
        written.inspect_err(|_| {
            // As on a disk that is full.
            drop(fs::remove_file(&new));
        })
    }
}
