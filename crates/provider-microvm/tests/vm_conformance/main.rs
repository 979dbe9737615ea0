//! The conformance suite over real guests under QEMU, and one of them on an operator's network.
//!
//! Bridges and TAP devices are made, so every check runs in a network namespace of its own: by this test binary started again,
//! for this check alone. Guests run without hardware virtualization, on any machine.
//!
//! By hand, as root:
//! `cargo test -p provider-microvm --test vm_conformance -- --ignored --test-threads=2`, after `cargo xtask agent` and
//! `scripts/ensure-guest-kernel.sh`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod cni;
mod harness;
mod host;
mod sight;

async fn make() -> Result<harness::OnMicrovms, conformance::Stop> {
    harness::OnMicrovms::new()
}

macro_rules! isolated_checks {
    (; $($name:ident,)*) => {$(
        #[test]
        #[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
        fn $name() {
            let name = concat!("conformance_suite::", stringify!($name));
            vm_testbed::isolated(name, || {
                if let Err(why) = conformance::test_one(stringify!($name), super::make) {
                    panic!("{why}");
                }
            });
        }
    )*};
}

mod conformance_suite {
    conformance::for_each_check!([isolated_checks]);
}
