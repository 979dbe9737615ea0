//! A seat whose network device somebody deletes.

use std::process::Command;

use seats::Status;

use crate::bed::{run, until};
use crate::isolated;

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The only TAP device there is.
fn tap() -> String {
    let links = ip(&["-o", "link"]);
    let mut taps = links.split([' ', ':', '@']).filter(|word| word.starts_with("ctt"));
    taps.next().unwrap_or_else(|| panic!("no TAP device: {links}")).to_owned()
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_seat_whose_device_is_deleted_has_another_one_when_it_is_created_again() {
    isolated!(a_seat_whose_device_is_deleted_has_another_one_when_it_is_created_again, || {
        run(&[], async |bed| {
            let wish = bed.spec(&bed.seat(1), "latest");
            let first = bed.running(&wish).await;
            bed.shell(&wish.seat, "echo homework >/workspace/note; sync").await;
            let (tap, monitor) = (tap(), bed.monitor(&wish.seat));
            ip(&["link", "del", &tap]);
            until(async || bed.listed(&wish.seat).await.unwrap().status == Status::Error).await;
            let why = bed.listed(&wish.seat).await.unwrap().reason.unwrap();
            assert!(why.contains(&tap) && why.contains("was deleted"), "{why}");

            // Its machine holds on to what is gone, so it is started again.
            let again = bed.running(&wish).await;
            assert_eq!((&again.id, again.ip), (&first.id, first.ip));
            assert_ne!(bed.monitor(&wish.seat), monitor);
            assert_eq!(bed.shell(&wish.seat, "cat /workspace/note").await, "homework");
            bed.destroy(&wish.seat).await;
        });
    });
}
