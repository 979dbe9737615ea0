//! The portal and its Node.js client, unchanged, over microVM seats: `portal/test/contract.microvm.test.ts`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::Host;
use crate::{isolated, process};

/// The portal's folder.
fn portal() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../portal")
}

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and the portal's packages (npm ci); cargo xtask test runs it"]
fn the_portal_and_its_client_do_over_microvms_what_they_do_over_containers() {
    if !portal().join("node_modules").is_dir() {
        return vm_testbed::skip("the portal's packages are not installed: npm ci in portal/");
    }
    isolated!(the_portal_and_its_client_do_over_microvms_what_they_do_over_containers, || {
        let host = Host::new();
        let nothing = host.left(&[]);
        let (_directory, service) = host.service(host.state(), &[]);
        // Everything but `serve`, and where to listen, which the tests say themselves.
        let own = ["serve", "--listen=127.0.0.1:0", "--log-format=json"];
        let flags: Vec<_> = service.get_args().map(|flag| flag.to_str().unwrap()).collect();
        let flags: Vec<_> = flags.into_iter().filter(|flag| !own.contains(flag)).collect();
        let mut tests = Command::new("npm");
        tests.args(["run", "--silent", "test:microvm"]).current_dir(portal());
        tests.env("CLARATEACH_TEST_MICROVM", serde_json::to_string(&flags).unwrap());
        tests.env("CLARATEACH_TEST_SERVICE", env!("CARGO_BIN_EXE_orchestrator"));
        let done = process::run(&mut tests);
        // All of them, as over containers.
        let all = done.out.contains("9 passed") && !done.out.contains("skipped");
        assert!(done.code == 0 && all, "{}\n{}", done.out, done.err);
        let left = host.left(&[]);
        let left: Vec<_> = left.difference(&nothing).filter(|line| !vm_testbed::is_of_tables(line)).collect();
        assert_eq!(left, [] as [&String; 0]);
    });
}
