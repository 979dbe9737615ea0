//! Checks of the suite over guests of the reference workspace image: the two servers of it, its user, its shell and its Python.
//!
//! All of them in one namespace over one host, so that the image is converted once.

use std::sync::Arc;

use vm_testbed::{Need, can_run};

use crate::harness::{Image, OnMicrovms};
use crate::host::Host;

const CHECKS: [&str; 7] = [
    "a_created_seat_runs_and_answers",
    "creating_again_finds_the_same",
    "another_image_is_a_conflict",
    "get_sees_what_list_sees",
    "kept_data_comes_back",
    "no_secret_gets_out",
    "seats_cannot_reach_each_other",
];

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and the reference image; cargo xtask test runs it"]
fn the_suite_holds_over_the_reference_image() {
    if !can_run(&[Need::Workspace]) {
        return;
    }
    vm_testbed::isolated!(the_suite_holds_over_the_reference_image, || {
        let mut host = Host::new().unwrap();
        host.config.images.archives.push(vm_testbed::workspace().unwrap());
        let host = Arc::new(host);
        let failed: Vec<_> = CHECKS
            .into_iter()
            .filter_map(|check| {
                let make = async || Ok(OnMicrovms::over(host.clone(), Image::Workspace));
                conformance::test_one(check, make).err()
            })
            .collect();
        assert_eq!(failed, [] as [String; 0]);
    });
}
