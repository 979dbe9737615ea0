//! TAP devices (Documentation/networking/tuntap.rst of the kernel): the only thing that netlink cannot make.

use std::ffi::{c_int, c_short, c_uint};
use std::fs::{File, OpenOptions};
use std::io;

use rustix::ioctl::{IntegerSetter, Opcode, Updater, opcode};
use rustix::net::{AddressFamily, SocketType};

use crate::names::IfName;

/// What a TAP device is opened by.
pub const DEVICE: &str = "/dev/net/tun";

/// Requests of `linux/if_tun.h`.
const SET_INTERFACE: Opcode = opcode::write::<c_int>(b'T', 202);
const SET_PERSISTENT: Opcode = opcode::write::<c_int>(b'T', 203);
const SET_OWNER: Opcode = opcode::write::<c_int>(b'T', 204);
const SET_GROUP: Opcode = opcode::write::<c_int>(b'T', 206);
const GET_INTERFACE: Opcode = opcode::read::<c_uint>(b'T', 210);

/// `IFF_TAP`, `IFF_NO_PI` and `IFF_VNET_HDR` of `linux/if_tun.h`: Ethernet frames behind a header of virtio-net, as VMMs want them.
const FLAGS: u16 = 0x0002 | 0x1000 | 0x4000;

/// `IFF_TUN_EXCL`: fails where there is one already.
const EXCLUSIVE: u16 = 0x8000;

/// `IFF_PERSIST`: it stays when it is closed.
const PERSISTENT: u16 = 0x0800;

/// `struct ifreq` of `linux/if.h`, as `TUNSETIFF` uses it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; 16],
    flags: c_short,
    rest: [u8; 22],
}

/// A TAP device that is held open: frames are read from it and written to it, each behind ten bytes of virtio-net header.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Makes a device. It goes away when this is dropped, unless [`Tap::keep`] is called.
    ///
    /// # Errors
    /// `ResourceBusy` when there is an interface of this name; what `open(2)` and `TUNSETIFF` say.
    pub fn create(name: &IfName) -> io::Result<Self> {
        Self::open(name, FLAGS | EXCLUSIVE)
    }

    /// Opens a device that is there, or makes one that goes away when this is dropped.
    ///
    /// # Errors
    /// `ResourceBusy` when somebody holds it open; what `open(2)` and `TUNSETIFF` say.
    pub fn attach(name: &IfName) -> io::Result<Self> {
        Self::open(name, FLAGS)
    }

    /// Opens a device that is there and was kept, by [`Tap::keep`] or by another program.
    ///
    /// # Errors
    /// `NotFound` when there is none; `ResourceBusy` when somebody holds it open; what `open(2)` and `TUNSETIFF` say.
    pub fn attach_kept(name: &IfName) -> io::Result<Self> {
        let tap = Self::open(name, FLAGS)?;
        let mut now = Request { name: name.padded(), flags: 0, rest: [0; 22] };
        #[expect(unsafe_code, reason = "rustix has no call for TUNGETIFF")]
        // SAFETY: the kernel writes a `struct ifreq`, whose size and layout `Request` has.
        unsafe {
            rustix::ioctl::ioctl(&tap.0, Updater::<GET_INTERFACE, Request>::new(&mut now))?;
        }
        if now.flags.cast_unsigned() & PERSISTENT == 0 {
            // There was none: the kernel made one, which is gone as soon as it is closed.
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is none"));
        }
        Ok(tap)
    }

    fn open(name: &IfName, flags: u16) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE);
        let file = file.map_err(|why| {
            io::Error::new(why.kind(), format!("{DEVICE}: {why} (is the module tun loaded?)"))
        })?;
        let mut request = Request { name: name.padded(), flags: flags.cast_signed(), rest: [0; 22] };
        #[expect(unsafe_code, reason = "rustix has no call for TUNSETIFF")]
        // SAFETY: the kernel reads a `struct ifreq`, whose size and layout `Request` has, and writes one back over it.
        unsafe {
            rustix::ioctl::ioctl(&file, Updater::<SET_INTERFACE, Request>::new(&mut request))?;
        }
        Ok(Self(file))
    }

    /// Who may open it beside root.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.set::<SET_OWNER>(uid)?;
        self.set::<SET_GROUP>(gid)
    }

    /// The index of an interface.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn index(name: &IfName) -> io::Result<u32> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        Ok(rustix::net::netdevice::name_to_index(&socket, name.as_str())?)
    }

    /// Keeps the device when it is closed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keep(&self) -> io::Result<()> {
        self.set::<SET_PERSISTENT>(1)
    }

    /// The open file, for a VMM or for reading and writing frames.
    #[must_use]
    pub fn into_file(self) -> File {
        self.0
    }

    fn set<const REQUEST: Opcode>(&self, value: u32) -> io::Result<()> {
        let value = usize::try_from(value).map_err(io::Error::other)?;
        #[expect(unsafe_code, reason = "rustix has no call for these requests")]
        // SAFETY: these requests take a number in place of a pointer.
        unsafe {
            rustix::ioctl::ioctl(&self.0, IntegerSetter::<REQUEST>::new_usize(value))?;
        }
        Ok(())
    }
}
