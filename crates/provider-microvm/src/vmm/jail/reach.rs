//! Connects to what listens in a jail.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};
use tokio::net::UnixStream;

const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Connects to a socket in a folder of a monitor's, such as a jail's root. A monitor that was taken over may put a link in its place, which would lead whoever follows it to a socket
/// of the host: it is not followed. And the path may be longer than the 107 bytes that an address has room for (unix(7)).
///
/// # Errors
/// When nothing is there ([`io::ErrorKind::NotFound`]), nobody listens ([`io::ErrorKind::ConnectionRefused`]), or it is no socket.
pub(in crate::vmm) fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let opened = openat(CWD, folder, PLACE | OFlags::DIRECTORY, Mode::empty())?;
    let place = openat(&opened, name, PLACE, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::Socket {
        let why = format!("{name} in {} is no socket", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // A unix socket connects at once or not at all, but for a full queue of its listener, which is an error here.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(Path::new("/proc/self/fd").join(place.as_raw_fd().to_string()))?;
    connect_to(&socket, &address)?;
    UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))
}
