//! The conformance suite over real guests under QEMU, or Firecracker where a variable says so; one of them on an operator's network, and those of its checks
//! over seats that go on from a snapshot in which that can make a difference. Guests are of the reference workspace image where it is named, else of the testbed's.
//!
//! Bridges and TAP devices are made, so every check runs in a network namespace of its own: by this test binary started again,
//! for this check alone. Guests run without hardware virtualization, on any machine.
//!
//! By hand, as root:
//! `cargo test -p provider-microvm --test vm_conformance -- --ignored --test-threads=2`, after `cargo xtask agent` and
//! `scripts/ensure-guest-kernel.sh`; `CLARATEACH_WORKSPACE` names an archive of the reference image (`images/workspace/build.sh --archive`).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod cni;
mod harness;
mod host;
mod sight;

use provider_microvm::SnapshotUse;

macro_rules! isolated_checks {
    ($within:literal, $snapshot:path; $($name:ident,)*) => {$(
        #[test]
        #[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
        fn $name() {
            let check = stringify!($name);
            vm_testbed::isolated(concat!($within, "::", stringify!($name)), || {
                let make = async || crate::harness::OnMicrovms::new(check, $snapshot);
                if let Err(why) = conformance::test_one(check, make) {
                    panic!("{why}");
                }
            });
        }
    )*};
}

mod conformance_suite {
    conformance::for_each_check!([isolated_checks] "conformance_suite", super::SnapshotUse::Off);
}

/// Every check begins without a snapshot, so its first seat makes one and goes on from it. What is left out compares records, never starts a guest, or one that is as
/// slow as can be.
mod restored_seats {
    isolated_checks! { "restored_seats", super::SnapshotUse::Auto;
        a_created_seat_runs_and_answers,
        creating_starts_a_stopped_seat,
        kept_data_comes_back,
        destroy_workshop_removes_everything,
        a_restarted_service_knows_every_seat,
        a_service_killed_in_the_middle_leaves_nothing_unknown,
        an_image_that_exits_tells_why,
        a_class_converges_and_stays,
        a_destroy_overtakes_a_class,
        two_services_share_a_host,
        a_cancelled_create_ends_one_way_or_the_other,
        no_secret_gets_out,
        the_environment_arrives_unchanged,
        seats_cannot_reach_each_other,
        the_limits_arrive,
        fifty_creates_of_one_seat_make_one,
        removed_data_is_gone,
        destroy_leaves_nothing,
        a_mute_image_becomes_an_error,
        a_drain_lets_running_work_end,
    }
}
