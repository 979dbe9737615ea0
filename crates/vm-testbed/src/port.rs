//! Ports for programs that cannot choose one themselves.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where those ports begin, and how many there are. They are below the ones that the kernel gives to clients (ip(7), `ip_local_port_range`: from
/// 32768): whoever asks whether somebody listens already may be given the very port that he asks, and is then connected to himself.
const PORTS: (u16, u16) = (20_000, 10_000);
/// How many were tried in this process.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// A port of loopback on which nobody listens.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    let (first, number) = PORTS;
    // Processes that run side by side begin at other places, and one of them is given no port twice before all were had.
    let begin = u16::try_from(std::process::id() % u32::from(number)).unwrap_or_default();
    let mut ports =
        (0..number).map(|_| first + (begin + GIVEN.fetch_add(1, Ordering::Relaxed) % number) % number);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).unwrap();
        GIVEN.fetch_sub(1, Ordering::Relaxed);
        let other = free_port().unwrap();
        assert_ne!(other, taken.local_addr().unwrap().port());
        assert!((20_000..30_000).contains(&other));
    }
}
