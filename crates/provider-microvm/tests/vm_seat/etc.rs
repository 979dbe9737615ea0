//! What a seat knows of itself and of whom to ask, as its programs read it.

use crate::bed::run_with;
use crate::isolated;

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_knows_its_own_address_and_the_name_servers_that_are_set() {
    isolated!(a_seat_knows_its_own_address_and_the_name_servers_that_are_set, || {
        let servers = ["192.0.2.53", "192.0.2.54"].map(|server| server.parse().unwrap());
        let named = |config: &mut provider_microvm::MicrovmConfig| config.nameservers = servers.to_vec();
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
