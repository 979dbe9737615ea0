//! Opens a TAP device (Documentation/networking/tuntap.rst of the kernel).

use std::ffi::{c_int, c_short};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

use rustix::ioctl::{Opcode, Setter, Updater, opcode};

const DEVICE: &str = "/dev/net/tun";
/// `TUNSETIFF` and `TUNGETIFF` of `linux/if_tun.h`.
const SET: Opcode = opcode::write::<c_int>(b'T', 202);
const GET: Opcode = opcode::read::<std::ffi::c_uint>(b'T', 210);
/// `IFF_*` of `linux/if_tun.h`.
const TAP: u16 = 0x0002;
const PERSIST: u16 = 0x0800;
const NO_PACKET_INFORMATION: u16 = 0x1000;
const OFFLOAD_HEADER: u16 = 0x4000;

/// `struct ifreq` of `linux/if.h`, as these two use it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; 16],
    flags: c_short,
    rest: [u8; 22],
}

/// Opens a persistent TAP device that is there already.
pub(super) fn open(name: &str) -> io::Result<OwnedFd> {
    let told = |what: &str, why: &io::Error| io::Error::new(why.kind(), format!("{what}: {why}"));
    let file: OwnedFd = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|why| told(&format!("{DEVICE} (is the module tun loaded?)"), &why))?
        .into();
    let mut request = Request { name: [0; 16], flags: 0, rest: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: longer than 15 bytes")));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.flags = (TAP | NO_PACKET_INFORMATION | OFFLOAD_HEADER).cast_signed();
    let attached = || -> io::Result<Request> {
        let mut now = request;
        #[expect(unsafe_code, reason = "rustix has no call for TUNSETIFF and TUNGETIFF")]
        // SAFETY: both take a `struct ifreq`, whose size and layout `Request` has, and write no further.
        unsafe {
            rustix::ioctl::ioctl(&file, Setter::<SET, Request>::new(request))?;
            rustix::ioctl::ioctl(&file, Updater::<GET, Request>::new(&mut now))?;
        }
        Ok(now)
    };
    let now = attached().map_err(|why| told(&format!("TAP device {name}"), &why))?;
    if now.flags.cast_unsigned() & PERSIST == 0 {
        // There was none: the kernel made one, which is gone as soon as it is closed.
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("TAP device {name}: there is none")));
    }
    Ok(file)
}
