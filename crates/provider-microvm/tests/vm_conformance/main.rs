//! The conformance suite over real guests under QEMU, or Firecracker where a variable says so; all of it over seats that boot and over
//! seats that go on from a snapshot; and a guest on an operator's network. Guests are of the reference workspace image where it is named, else of the testbed's.
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

/// Every check begins without a snapshot, so its first seat makes one and goes on from it.
mod restored_seats {
    conformance::for_each_check!([isolated_checks] "restored_seats", super::SnapshotUse::Auto);
}
