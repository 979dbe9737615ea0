//! What a seat knows of itself and of whom to ask, as its programs read it, and whom of those it reaches.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

use hostnet::Otherwise;
use provider_microvm::MicrovmConfig;
use seats::SeatRef;

use crate::bed::{Bed, run_with, until};
use crate::isolated;

/// An address of the host, as a cloud has its resolver and its metadata.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Another of the host.
const OTHER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_knows_its_own_address_and_the_name_servers_that_are_set() {
    isolated!(a_seat_knows_its_own_address_and_the_name_servers_that_are_set, || {
        let servers = ["192.0.2.53", "192.0.2.54"].map(|server| server.parse().unwrap());
        let named = |config: &mut MicrovmConfig| config.nameservers = servers.to_vec();
        run_with(&[], named, async |bed| {
            let seat = bed.seat(7);
            let made = bed.running(&bed.spec(&seat, "latest")).await;
            assert_eq!(
                bed.shell(&seat, "cat /etc/resolv.conf").await.trim_end(),
                "nameserver 192.0.2.53\nnameserver 192.0.2.54"
            );
            let hosts = bed.shell(&seat, "cat /etc/hosts").await;
            assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"), "{hosts}");
            assert!(hosts.trim_end().ends_with(&format!("\n{}\tseat-7", made.ip.unwrap())), "{hosts}");
            bed.destroy(&seat).await;
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_name_server_that_is_set_is_reached_on_port_53_alone_whatever_else_is_denied() {
    isolated!(a_name_server_that_is_set_is_reached_on_port_53_alone_whatever_else_is_denied, || {
        answer_on_this_host();
        let set = |config: &mut MicrovmConfig| {
            config.nameservers = vec![RESOLVER.into()];
            config.egress.otherwise = Otherwise::Deny;
        };
        run_with(&[], set, async |bed| {
            let seat = bed.seat(1);
            bed.running(&bed.spec(&seat, "latest")).await;
            assert_eq!(reached(bed, &seat).await, ["169.254.169.254 tcp 53", "169.254.169.254 udp 53"]);
            bed.destroy(&seat).await;
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn the_hosts_name_server_is_reached_for_as_long_as_it_is_the_hosts() {
    isolated!(the_hosts_name_server_is_reached_for_as_long_as_it_is_the_hosts, || {
        answer_on_this_host();
        // Seen in this test's own mounts alone.
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("resolv.conf");
        fs::write(&own, format!("nameserver 127.0.0.1\nnameserver {RESOLVER}\n")).unwrap();
        let bound = Command::new("mount").arg("--bind").arg(&own).arg("/etc/resolv.conf").status().unwrap();
        assert!(bound.success());
        run_with(
            &[],
            |_| {},
            async |bed| {
                let seat = bed.seat(1);
                bed.running(&bed.spec(&seat, "latest")).await;
                assert_eq!(bed.shell(&seat, "cat /etc/resolv.conf").await, format!("nameserver {RESOLVER}"));
                assert_eq!(reached(bed, &seat).await, ["169.254.169.254 tcp 53", "169.254.169.254 udp 53"]);

                // Another one, while the seat runs.
                fs::write(&own, format!("nameserver {OTHER}\n")).unwrap();
                let other = ["169.254.169.253 tcp 53", "169.254.169.253 udp 53"];
                until(async || reached(bed, &seat).await == other).await;
                // For what is left is compared with what was there.
                fs::write(&own, format!("nameserver {RESOLVER}\n")).unwrap();
                let first = ["169.254.169.254 tcp 53", "169.254.169.254 udp 53"];
                until(async || reached(bed, &seat).await == first).await;
                bed.destroy(&seat).await;
            },
        );
    });
}

/// Listens on both addresses, by TCP and by UDP, on port 53 and on another one, until the test ends. To each question there is no such name.
fn answer_on_this_host() {
    for address in [RESOLVER, OTHER] {
        let mut add = Command::new("ip");
        add.args(["address", "add", &format!("{address}/32"), "dev", "lo"]);
        assert!(add.status().unwrap().success());
        for port in [53, 80] {
            let listener = TcpListener::bind((address, port)).unwrap();
            std::thread::spawn(move || listener.incoming().for_each(drop));
            let socket = UdpSocket::bind((address, port)).unwrap();
            std::thread::spawn(move || {
                let mut question = [0; 512];
                while let Ok((length, from)) = socket.recv_from(&mut question) {
                    // It is an answer, and says NXDOMAIN (RFC 1035, section 4.1.1).
                    question[2] |= 0x80;
                    question[3] = 3;
                    drop(socket.send_to(&question[..length], from));
                }
            });
        }
    }
}

/// What a seat reaches of all that [`answer_on_this_host`] has.
async fn reached(bed: &Bed, seat: &SeatRef) -> Vec<String> {
    // All at once: what is dropped is waited for in vain.
    let script = format!(
        "for address in {OTHER} {RESOLVER}; do
            for port in 53 80; do
                ( /bin/busybox nc -w 6 $address $port </dev/null >/dev/null 2>&1 && echo $address tcp $port ) &
                ( /bin/busybox timeout 12 /bin/busybox nslookup -type=a seat.invalid $address:$port 2>&1 | grep -q NXDOMAIN &&
                    echo $address udp $port ) &
            done
        done
        wait"
    );
    let mut reached: Vec<_> = bed.shell(seat, &script).await.lines().map(str::to_owned).collect();
    reached.sort();
    reached
}
