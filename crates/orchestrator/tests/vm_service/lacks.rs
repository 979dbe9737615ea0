//! A host that lacks something, without guests: what is asked for is refused in words, `doctor` says what to do, and nothing is left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::host::{Host, list, pause, said, until};
use crate::isolated;
use crate::process::{Done, Service, orchestrator, run};

/// A seat is refused with these words, and the host is as it was.
#[track_caller]
fn refused(host: &Host, service: &Service, words: &[&str]) {
    let before = settled(host, service);
    let done = service.run(&["seat", "create", "demo", "1"]);
    assert_ne!(done.code, 0, "{done:?}");
    for word in words {
        assert!(done.err.contains(word), "{word}: {}", done.err);
    }
    assert_eq!(list(service, "demo"), [] as [Value; 0]);
    assert_eq!(settled(host, service), before);
}

/// What is there beside the service, once it is the same twice: programs that it starts have its own name for a moment.
fn settled(host: &Host, service: &Service) -> BTreeSet<String> {
    let mut seen = host.left(&[service]);
    until("a quiet host", || {
        pause();
        let now = host.left(&[service]);
        now == std::mem::replace(&mut seen, now.clone())
    });
    seen
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn what_a_service_cannot_make_seats_without_is_said_and_nothing_is_left() {
    isolated!(what_a_service_cannot_make_seats_without_is_said_and_nothing_is_left, || {
        let host = Host::new();
        let service = host.serve(&["--microvm-qemu=/nowhere/qemu"]);
        refused(&host, &service, &["/nowhere/qemu", "install QEMU"]);
        drop(service);

        let unprepared = host.folder().join("unprepared");
        let (directory, command) = host.service(&unprepared, &[]);
        let service = Service::launch(directory, command);
        refused(&host, &service, &["no kernel is prepared", "microvm setup"]);
        drop(service);

        // The host has another way to all of the pool.
        said("ip", &["link", "add", "up0", "type", "bridge"]);
        said("ip", &["link", "set", "up0", "up"]);
        said("ip", &["route", "add", "10.214.0.0/15", "dev", "up0"]);
        let service = host.serve(&[]);
        refused(&host, &service, &["10.214.0.0/16", "up0", "pool"]);
        said("ip", &["link", "del", "up0"]);
        drop(service);

        // Root, but for the right to change the network.
        let (directory, whole) = host.service(host.state(), &[]);
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-net_admin").arg(whole.get_program()).args(whole.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(directory.path());
        let service = Service::launch(directory, command);
        refused(&host, &service, &["CAP_NET_ADMIN"]);
    });
}

/// Replaces `/dev` in the mount namespace of this test by one with the devices of every machine and no other.
fn plain_devices() {
    // Made elsewhere: no program is run without /dev/null.
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().to_str().unwrap();
    said("mount", &["-t", "tmpfs", "-o", "mode=0755", "devices", made]);
    for (name, major, minor) in [
        ("null", "1", "3"),
        ("zero", "1", "5"),
        ("full", "1", "7"),
        ("random", "1", "8"),
        ("urandom", "1", "9"),
        ("net/tun", "10", "200"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        said("mknod", &["-m", "666", path.to_str().unwrap(), "c", major, minor]);
    }
    said("mount", &["--move", made, "/dev"]);
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn a_host_without_kvm_that_is_to_use_it_says_so_and_nothing_is_left() {
    isolated!(a_host_without_kvm_that_is_to_use_it_says_so_and_nothing_is_left, || {
        let host = Host::new();
        plain_devices();
        let flags = ["--microvm-accelerator=kvm"];
        let is_said = |why: &str| {
            let report = doctor(&host, &["env"], &flags);
            let [level, detail, remedy] = check(&report, "accelerator");
            assert_eq!(level, "error", "{report}");
            for words in ["no seat starts, because microvm.accelerator is kvm", why] {
                assert!(detail.contains(words), "{words}: {report}");
            }
            assert!(remedy.contains("firmware") && remedy.contains("nested virtualization"), "{report}");
            let service = host.serve(&flags);
            let remedy = "set the accelerator to auto or tcg, or make KVM work on this host";
            refused(&host, &service, &["KVM cannot be used", why, remedy]);
        };
        is_said("there is no /dev/kvm: the processor or the machine has no virtualization");
        // Something of that name that is none.
        said("mknod", &["-m", "666", "/dev/kvm", "c", "1", "3"]);
        is_said("/dev/kvm");

        // Without it guests run all the same where nobody insists.
        let report = doctor(&host, &["env"], &["--microvm-accelerator=auto"]);
        let [level, detail, _] = check(&report, "accelerator");
        assert!(level == "warning" && detail.contains("many times slower than KVM"), "{report}");
    });
}

/// Programs that are no Firecracker of use, each with what is said of it.
fn unusable(folder: &Path) -> [(String, &'static [&'static str]); 5] {
    let file = |name: &str, mode, content: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    // The beginning of an ELF file for AArch64.
    let foreign = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";
    [
        ("/nowhere/firecracker".into(), &["not found", "install Firecracker"]),
        (
            file("old", 0o755, b"#!/bin/sh\necho Firecracker v1.15.1\n"),
            &["is Firecracker 1.15.1", "1.16.0 is needed"],
        ),
        (
            file("closed", 0o644, b"#!/bin/sh\necho Firecracker v1.16.1\n"),
            &["cannot be run: Permission denied"],
        ),
        (file("foreign", 0o755, foreign), &["is a program for aarch64"]),
        (file("other", 0o755, b"#!/bin/sh\necho hello\n"), &["does not look like Firecracker"]),
    ]
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn a_firecracker_that_cannot_be_used_is_said_and_nothing_is_left() {
    isolated!(a_firecracker_that_cannot_be_used_is_said_and_nothing_is_left, || {
        let host = Host::new();
        for (program, words) in unusable(host.folder()) {
            let chosen = format!("--microvm-firecracker={program}");
            let flags = ["--microvm-monitor=firecracker", "--microvm-accelerator=auto", &chosen];
            let report = doctor(&host, &["env"], &flags);
            let [level, detail, remedy] = check(&report, "monitor");
            assert_eq!(level, "error", "{report}");
            assert!(words.iter().all(|word| detail.contains(word)), "{report}");
            assert!(remedy.contains("microvm.firecracker"), "{report}");
            let service = host.serve(&flags);
            refused(&host, &service, words);
        }
    });
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn a_service_is_not_ready_where_firecracker_can_run_no_guest() {
    isolated!(a_service_is_not_ready_where_firecracker_can_run_no_guest, || {
        let host = Host::new();
        let [_, _, _, _, (other, _)] = unusable(host.folder());
        fs::write(&other, "#!/bin/sh\necho Firecracker v1.16.1\n").unwrap();
        plain_devices();
        let chosen = format!("--microvm-firecracker={other}");
        let flags =
            ["--microvm-monitor=firecracker", "--microvm-accelerator=auto", "--microvm-jailer=off", &chosen];
        let service = host.serve(&flags);
        let said = ready(&service);
        assert!(said.ends_with("\n503") && said.contains("there is no /dev/kvm"), "{said}");
        // Only its guests will tell that it is none.
        self::said("mknod", &["-m", "666", "/dev/kvm", "c", "1", "3"]);
        let kernel = guest_boot::Boot::open(&host.state().join("microvm/boot")).unwrap().kernel();
        fs::write(kernel, "no kernel").unwrap();
        let said = ready(&service);
        let words = ["is neither an ELF vmlinux nor a bzImage", "microvm setup"];
        assert!(said.ends_with("\n503") && words.iter().all(|word| said.contains(word)), "{said}");
    });
}

/// A trial of KVM takes longer than readiness is waited for, where KVM is emulated.
#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn a_service_becomes_ready_before_anybody_asks_for_a_seat() {
    isolated!(a_service_becomes_ready_before_anybody_asks_for_a_seat, || {
        let host = Host::new();
        let service = host.serve(&["--microvm-accelerator=auto"]);
        let mut said = String::new();
        let ready = (0..10).any(|_| {
            said = ready(&service);
            said.ends_with("\n200")
        });
        assert!(ready, "{said}");
    });
}

/// What `/readyz` answers, and its code.
fn ready(service: &Service) -> String {
    let url = service.at("/readyz");
    let output = Command::new("curl").args(["-s", "-m", "60", "-w", "\n%{http_code}", &url]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn what_firecracker_says_before_it_gives_up_is_told_and_nothing_is_left() {
    isolated!(what_firecracker_says_before_it_gives_up_is_told_and_nothing_is_left, || {
        let host = Host::new();
        let [_, _, _, _, (program, _)] = unusable(host.folder());
        // One that loads whatever kernel is prepared here.
        let script = "#!/bin/sh\ncase $1 in --version) echo Firecracker v1.17.0 ;; *) echo 'panicked: no luck' && kill -ABRT $$ ;; esac\n";
        fs::write(&program, script).unwrap();
        let chosen = format!("--microvm-firecracker={program}");
        let flags =
            ["--microvm-monitor=firecracker", "--microvm-accelerator=auto", "--microvm-jailer=off", &chosen];
        let service = host.serve(&flags);
        refused(&host, &service, &["was killed by SIGABRT; its console says last: panicked: no luck"]);
    });
}

/// `doctor` under another program that changes what it may, or what it sees.
pub(crate) fn doctor(host: &Host, under: &[&str], more: &[&str]) -> Value {
    let service = orchestrator(host.folder());
    let doctor = ["doctor", "--provider", "microvm", "--url", "http://127.0.0.1:1", "--output", "json"];
    let program: &OsStr = service.get_program();
    let words: Vec<&OsStr> = under.iter().map(OsStr::new).chain([program]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(doctor).args(more).arg("--state-dir").arg(host.state());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(Path::new("/"));
    let done: Done = run(&mut command);
    done.json()
}

/// What a check says, and what to do.
#[track_caller]
pub(crate) fn check<'a>(report: &'a Value, name: &str) -> [&'a str; 3] {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
    ["level", "detail", "remedy"].map(|member| check[member].as_str().unwrap_or_default())
}

#[test]
#[ignore = "vm tier: needs root and a guest kernel; cargo xtask test runs it"]
fn the_doctor_says_of_everything_that_is_missing_what_to_do() {
    isolated!(the_doctor_says_of_everything_that_is_missing_what_to_do, || {
        let host = Host::new();
        // As it is: what this host has is found.
        let report = doctor(&host, &["env"], &[]);
        for name in ["guest kernel", "monitor", "capabilities", "cgroups", "cap_net_admin", "microvm_pool"] {
            assert_eq!(check(&report, name)[0], "ok", "{name}: {report}");
        }
        let [_, detail, remedy] = check(&report, "image");
        assert!(detail.contains("clarateach-workspace") && !remedy.contains("sudo"), "{report}");

        // Without capabilities.
        let dropped = "--bounding-set=-net_admin,-setuid,-setgid,-chown,-fowner,-kill,-dac_override";
        let report = doctor(&host, &["setpriv", dropped], &[]);
        let [level, detail, remedy] = check(&report, "capabilities");
        assert_eq!(level, "error");
        for name in ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"] {
            assert!(detail.contains(name), "{detail}");
        }
        assert!(remedy.contains("run as root"), "{remedy}");
        let [level, detail, remedy] = check(&report, "cap_net_admin");
        assert!(level == "error" && detail.contains("CAP_NET_ADMIN") && remedy.contains("root"), "{report}");

        // As somebody who cannot write to the state folder.
        let report = doctor(&host, &["setpriv", "--reuid=65534", "--clear-groups"], &[]);
        let [level, detail, remedy] = check(&report, "state_dir");
        assert!(level == "error" && detail.contains("cannot be written"), "{report}");
        assert!(remedy.contains("state_dir"), "{remedy}");
        let [level, detail, remedy] = check(&report, "cgroups");
        assert!(level == "error" && detail.contains("/sys/fs/cgroup"), "{report}");
        assert!(remedy.contains("for writing"), "{remedy}");

        // Without cgroups, and without forwarding.
        let hidden = ["unshare", "--mount", "--", "sh", "-c"];
        let script =
            "umount -l /sys/fs/cgroup 2>/dev/null; mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" \"$@\"";
        let report = doctor(&host, &[&hidden[..], &[script]].concat(), &[]);
        let [level, _, remedy] = check(&report, "cgroups");
        assert!(level == "error" && remedy.contains("cgroup controllers"), "{report}");
        let forward = "/proc/sys/net/ipv4/ip_forward";
        fs::write(forward, "0").unwrap();
        let [_, detail, _] = check(&doctor(&host, &["env"], &[]), "forwarding").map(str::to_owned);
        assert!(detail.contains("ip_forward is off") && detail.contains("turns it on"), "{detail}");
        // Looking changed nothing.
        assert_eq!(fs::read_to_string(forward).unwrap().trim(), "0");
    });
}
