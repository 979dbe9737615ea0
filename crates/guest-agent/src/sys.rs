//! System calls that no library has a safe door to: the only unsafe code of the agent.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::ioctl::{NoArg, Setter, ioctl, opcode};
use rustix::net::{AddressFamily, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most random bytes that [`add_entropy`] takes.
pub(crate) const MAX_ENTROPY: usize = 512;

/// `struct rand_pool_info` of linux/random.h, with its buffer.
#[repr(C)]
struct RandPoolInfo {
    /// In bits.
    entropy_count: i32,
    /// In bytes.
    buf_size: i32,
    buf: [u8; MAX_ENTROPY],
}

/// Gives the kernel's generator random bytes, and says that they are (`RNDADDENTROPY`, random(4)).
pub(crate) fn add_entropy(random: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let bytes = &bytes[..bytes.len().min(MAX_ENTROPY)];
    let size = i32::try_from(bytes.len()).unwrap_or(0);
    let mut info = RandPoolInfo { entropy_count: size * 8, buf_size: size, buf: [0; MAX_ENTROPY] };
    info.buf[..bytes.len()].copy_from_slice(bytes);
    #[expect(unsafe_code, reason = "the kernel reads the two numbers and as many bytes as the second says")]
    unsafe {
        ioctl(random, Setter::<{ opcode::write::<[i32; 2]>(b'R', 3) }, _>::new(info))?;
    }
    Ok(())
}

/// Has the generator make its numbers of what it was given until now (`RNDRESEEDCRNG`, random(4)), and not of what it had before.
pub(crate) fn reseed(random: impl AsFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the kernel is given nothing but the request")]
    let done = unsafe { ioctl(random, NoArg::<{ opcode::none(b'R', 7) }>::new()) };
    match done {
        // It has had too little yet to make any (`ENODATA`), and will do so by itself.
        Err(rustix::io::Errno::NODATA) => Ok(()),
        done => Ok(done?),
    }
}

/// Makes a mounted ext4 file system as large as so many blocks (`EXT4_IOC_RESIZE_FS` of fs/ext4/ext4.h).
pub(crate) fn grow_ext4(mounted: impl AsFd, blocks: u64) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the kernel reads one number of 64 bits")]
    unsafe {
        ioctl(mounted, Setter::<{ opcode::write::<u64>(b'f', 16) }, _>::new(blocks))?;
    }
    Ok(())
}

/// A socket by which interfaces are set up (netdevice(7)).
#[derive(Debug)]
pub(crate) struct Interfaces(OwnedFd);

/// `struct ifreq`: a name, and a union of 24 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

impl Interfaces {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        Ok(Self(rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?))
    }

    /// Gives an interface its address and how many bits of it are the network's.
    pub(crate) fn set_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
        self.set::<{ libc::SIOCSIFADDR as u32 }>(name, &socket_address(address))?;
        self.set::<{ libc::SIOCSIFNETMASK as u32 }>(name, &socket_address(mask.into()))
    }

    /// The largest packet of an interface in bytes.
    pub(crate) fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        self.set::<{ libc::SIOCSIFMTU as u32 }>(name, &mtu.to_ne_bytes())
    }

    /// Gives an Ethernet interface another hardware address.
    pub(crate) fn set_hardware_address(&self, name: &str, mac: [u8; 6]) -> io::Result<()> {
        // `struct sockaddr`.
        let mut address = [0; 16];
        address[..2].copy_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
        address[2..8].copy_from_slice(&mac);
        self.set::<{ libc::SIOCSIFHWADDR as u32 }>(name, &address)
    }

    /// Turns an interface on.
    pub(crate) fn up(&self, name: &str) -> io::Result<()> {
        let flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        self.set::<{ libc::SIOCSIFFLAGS as u32 }>(name, &flags.to_ne_bytes())
    }

    /// Sends everything else there.
    pub(crate) fn default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        let address = |ip: Ipv4Addr| {
            let mut data = [0; 14];
            for (to, from) in data[2..].iter_mut().zip(ip.octets()) {
                *to = from.cast_signed();
            }
            libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
        };
        let any = address(Ipv4Addr::UNSPECIFIED);
        #[expect(unsafe_code, reason = "numbers and one pointer, for which null is no interface")]
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        (route.rt_dst, route.rt_gateway, route.rt_genmask) = (any, address(gateway), any);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        #[expect(unsafe_code, reason = "the kernel reads the structure")]
        unsafe {
            ioctl(&self.0, Setter::<{ libc::SIOCADDRT as u32 }, _>::new(route))?;
        }
        Ok(())
    }

    fn set<const WHAT: u32>(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let mut request = Request { name: [0; libc::IFNAMSIZ], value: [0; 24] };
        if name.len() >= request.name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        request.value[..value.len()].copy_from_slice(value);
        #[expect(unsafe_code, reason = "the kernel reads the structure")]
        unsafe {
            ioctl(&self.0, Setter::<WHAT, _>::new(request))?;
        }
        Ok(())
    }
}

/// A socket that has this port of the guest's vsock device, whoever connects (`VMADDR_CID_ANY`, vsock(7)).
pub(crate) fn vsock(port: u32) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &VsockPort(port))?;
    Ok(socket)
}

/// Whether a connection is one of the host's (`VMADDR_CID_HOST`, vsock(7)), and not of a process in here; nothing when it is none of vsock's.
pub(crate) fn is_from_the_host(socket: &OwnedFd) -> io::Result<Option<bool>> {
    use std::os::fd::AsRawFd as _;
    // Larger than any other family's address, which is cut off otherwise.
    let mut address =
        libc::sockaddr_vm { svm_family: 0, svm_reserved1: 0, svm_port: 0, svm_cid: 0, svm_zero: [0; 4] };
    let mut length = size_of::<libc::sockaddr_vm>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "the library has no address of this family")]
    // SAFETY: the kernel writes no more than so many bytes there.
    let asked = unsafe { libc::getpeername(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_vsock = address.svm_family == libc::AF_VSOCK as libc::sa_family_t;
    Ok(is_vsock.then_some(address.svm_cid == libc::VMADDR_CID_HOST))
}

/// A port of every address of the vsock device.
struct VsockPort(u32);

#[expect(unsafe_code, reason = "the library has no address of this family")]
// SAFETY: what it is called with is a whole `sockaddr_vm`, which lives until it returns.
unsafe impl rustix::net::addr::SocketAddrArg for VsockPort {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const rustix::net::addr::SocketAddrOpaque, rustix::net::addr::SocketAddrLen) -> R,
    ) -> R {
        let address = libc::sockaddr_vm {
            svm_family: libc::AF_VSOCK as libc::sa_family_t,
            svm_reserved1: 0,
            svm_port: self.0,
            svm_cid: libc::VMADDR_CID_ANY,
            svm_zero: [0; 4],
        };
        f((&raw const address).cast(), size_of::<libc::sockaddr_vm>() as u32)
    }
}

/// `struct sockaddr_in`.
fn socket_address(ip: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&ip.octets());
    bytes
}

/// What a new process does with itself before it becomes the program.
pub(crate) struct Become {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<rustix::process::Gid>,
    /// What of root's powers is left, as bits.
    pub(crate) capabilities: u64,
    /// `cgroup.procs` of its control group.
    pub(crate) cgroup: Option<OwnedFd>,
    /// Whether its standard input becomes its controlling terminal.
    pub(crate) terminal: bool,
    /// Whether this process may change users at all; a test's may not.
    pub(crate) privileged: bool,
}

/// How many descriptors a process may have, as Docker's containers.
const FILES: u64 = 1 << 20;

/// Has the program of this command become that before it begins.
pub(crate) fn prepare(command: &mut Command, become_: Become) {
    #[expect(
        unsafe_code,
        reason = "between fork and exec: it only makes system calls, and takes no memory and no lock"
    )]
    unsafe {
        command.pre_exec(move || become_.apply());
    }
}

impl Become {
    fn apply(&self) -> io::Result<()> {
        use rustix::process::{Gid, Resource, Rlimit, Uid};
        rustix::process::setsid()?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        if let Some(cgroup) = &self.cgroup {
            rustix::io::write(cgroup, b"0")?;
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        if self.privileged {
            let limit = Rlimit { current: Some(FILES), maximum: Some(FILES) };
            // A kernel with a lower `fs.nr_open` keeps its own.
            let _ = rustix::process::setrlimit(Resource::Nofile, limit);
            self.drop_bounding()?;
            rustix::thread::set_thread_groups(&self.groups)?;
            rustix::thread::set_thread_gid(Gid::from_raw(self.gid))?;
            rustix::thread::set_thread_uid(Uid::from_raw(self.uid))?;
        }
        rustix::thread::set_no_new_privs(true)?;
        Ok(())
    }

    /// What is not in the bounding set, no program gets when it begins, whoever runs it.
    fn drop_bounding(&self) -> io::Result<()> {
        for number in 0..64 {
            if self.capabilities & (1 << number) == 0 {
                let one = rustix::thread::CapabilitySet::from_bits_retain(1 << number);
                match rustix::thread::remove_capability_from_bounding_set(one) {
                    // The kernel knows none from here on.
                    Err(rustix::io::Errno::INVAL) => return Ok(()),
                    done => done?,
                }
            }
        }
        Ok(())
    }
}

/// A descriptor that the runtime watches.
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "the descriptor has one owner, which gives the same number for as long as it lives"
    )]
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(registered?)
}

/// kill(2), with every number that the kernel takes: the library knows no real-time signals.
pub(crate) fn kill(pid: i32, signal: i32) -> rustix::io::Result<()> {
    #[expect(unsafe_code, reason = "two numbers")]
    let done = unsafe { libc::kill(pid, signal) };
    if done == 0 {
        return Ok(());
    }
    let why = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    Err(rustix::io::Errno::from_raw_os_error(why))
}

/// Whose a pipe is: programs open `/dev/stdout` anew, as their own user.
pub(crate) fn give_pipe(pipe: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    use rustix::fs::{Gid, Uid};
    Ok(rustix::fs::fchown(pipe, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}
