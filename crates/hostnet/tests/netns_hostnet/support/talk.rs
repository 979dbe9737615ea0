//! Programs that talk: on the host, in guests, in the internet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_timeout;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketType, ipproto};

/// For what must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// Answers each connection with the address that it came from, until the test ends.
pub(crate) fn listen(address: Ipv4Addr, port: u16) {
    let listener = TcpListener::bind((address, port)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            drop(stream.write_all(peer.ip().to_string().as_bytes()));
        }
    });
}

/// Connects, which must be possible; how the other side sees this one.
pub(crate) fn ask(address: Ipv4Addr, port: u16) -> Ipv4Addr {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)
        .unwrap_or_else(|error| panic!("{address}:{port}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said.parse().unwrap()
}

/// Whether a connection comes about within a moment: for what must not.
pub(crate) fn connects(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), SILENCE).is_ok()
}

/// Receives datagrams until the test ends; what they hold.
pub(crate) fn echoes(address: Ipv4Addr, port: u16) -> mpsc::Receiver<String> {
    let socket = UdpSocket::bind((address, port)).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if tell.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    told
}

/// Sends a datagram from this address, which the machine must have.
pub(crate) fn datagram(from: Ipv4Addr, to: Ipv4Addr, port: u16, text: &str) {
    UdpSocket::bind((from, 0)).unwrap().send_to(text.as_bytes(), (to, port)).unwrap();
}

/// Whether an ICMP echo is answered within a moment.
pub(crate) fn ping(address: Ipv4Addr, must: bool) -> bool {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    let patience = if must { PATIENCE } else { SILENCE };
    set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(patience)).unwrap();
    // Type 8, code 0, checksum, identifier 1, number 1 (RFC 792).
    let echo = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
    if rustix::net::sendto(&socket, &echo, SendFlags::empty(), &SocketAddrV4::new(address, 0)).is_err() {
        return false;
    }
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, _)) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) else {
            return false;
        };
        // Behind the header of IPv4: an echo reply from whom was asked.
        if length >= 28 && buffer[20] == 0 && buffer[12..16] == address.octets() {
            return true;
        }
    }
}
