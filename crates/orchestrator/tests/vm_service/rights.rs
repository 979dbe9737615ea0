//! The service with exactly the rights that its unit leaves it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use rustix::thread::CapabilitySet;

use crate::host::{Host, all_answer, list, until};
use crate::isolated;
use crate::process::Service;

/// The capabilities that the unit names, without `CAP_`.
fn of_the_unit() -> Vec<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/systemd/clarateach-orchestrator-microvm.service");
    let unit = fs::read_to_string(unit).unwrap();
    let lines = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = lines.flat_map(str::split_whitespace);
    names.map(|name| name.strip_prefix("CAP_").unwrap().to_owned()).collect()
}

/// A set of capabilities of a process (`proc_pid_status(5)`).
fn set_of(process: &str, set: &str) -> CapabilitySet {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
    CapabilitySet::from_bits_retain(u64::from_str_radix(mask.trim(), 16).unwrap())
}

/// A service that has these capabilities and no others, and whose children cannot get more, as under the unit.
fn serve_with(host: &Host, names: &[String]) -> Service {
    let (directory, whole) = host.service(host.state(), &[]);
    let kept: String = names.iter().map(|name| format!(",+{}", name.to_ascii_lowercase())).collect();
    let mut command = Command::new("setpriv");
    command.args(["--no-new-privs", "--inh-caps=-all", &format!("--bounding-set=-all{kept}")]);
    command.arg(whole.get_program()).args(whole.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(directory.path());
    let service = Service::launch(directory, command);
    // A container that tests run in may have fewer to give: without CAP_SYS_RESOURCE seats run, too.
    let named: CapabilitySet = names.iter().map(|name| CapabilitySet::from_name(name).unwrap()).collect();
    let given = named & set_of("self", "CapBnd:");
    assert!(given.contains(named - CapabilitySet::SYS_RESOURCE), "{given:?}");
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(set_of(&service.pid().to_string(), set), given, "{set}");
    }
    service
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn the_rights_that_the_unit_leaves_the_service_are_enough() {
    isolated!(the_rights_that_the_unit_leaves_the_service_are_enough, || {
        let (host, rights) = (Host::new(), of_the_unit());
        let mut service = serve_with(&host, &rights);
        let nothing = host.left(&[&service]);
        let up = ["class", "up", "demo", "--seats", "2"];
        service.run(&up).code(0);
        all_answer(&list(&service, "demo"), 2);

        // A machine that died is started again, and one that lives is found again.
        kill_process(host.monitor("demo/1"), Signal::KILL).unwrap();
        until("a broken seat", || list(&service, "demo")[0]["status"] == "error");
        service.run(&up).code(0);
        all_answer(&list(&service, "demo"), 2);
        service.kill();
        let service = serve_with(&host, &rights);
        all_answer(&list(&service, "demo"), 2);

        // Data is kept by asking the guest, and a machine that hangs is ended by force.
        kill_process(host.monitor("demo/2"), Signal::STOP).unwrap();
        service.run(&["seat", "destroy", "demo", "1", "--keep-data"]).code(0);
        service.run(&["class", "down", "demo"]).code(0);
        assert_eq!(host.left(&[&service]), nothing);
    });
}
