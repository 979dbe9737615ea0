//! Everything around what starts.

use rootfs::inspect::Level;
use rootfs::source::host_architecture;
use rstest::rstest;
use serde_json::json;

use super::draft::Draft;
use super::program::{Program, foreign};
use super::{changed, only};

#[rstest]
#[case::os("os", |d: &mut Draft| d.os = "windows".into())]
#[case::architecture("architecture", |d: &mut Draft| {
    // What is for no processor that is known stays for this host.
    d.architecture = "s390x".into();
})]
#[case::user("user", |d: &mut Draft| { d.set("User", json!("nobody")); })]
#[case::group("user", |d: &mut Draft| { d.set("User", json!("learner:staff")); })]
#[case::working_dir("working_directory", |d: &mut Draft| { d.set("WorkingDir", json!("/etc/passwd")); })]
#[case::barred("working_directory", |d: &mut Draft| {
    d.folder("root", 0o700).folder("root/work", 0o777).set("WorkingDir", json!("/root/work"));
})]
#[case::mount_point("mount_points", |d: &mut Draft| { d.file("run", 0o644, b""); })]
#[case::file_system("file_system", |d: &mut Draft| {
    d.file("etc/acl", 0o644, b"").attribute("SCHILY.xattr.system.posix_acl_access", b"odd");
})]
fn what_keeps_an_image_from_booting(#[case] name: &str, #[case] change: fn(&mut Draft)) {
    let (finding, report) = changed(name, change);
    assert_eq!(finding.level, Level::WillNotBoot, "{}", finding.detail);
    assert!(finding.remedy.is_some());
    assert_eq!(report.verdict.as_str(), "will_not_boot");
}

#[rstest]
#[case::os("os", "does not say", |d: &mut Draft| d.os.clear())]
#[case::architecture("architecture", "does not say", |d: &mut Draft| d.architecture.clear())]
#[case::root("user", "root (0:0)", |d: &mut Draft| { d.folder("root", 0o700).set("User", json!("")); })]
#[case::number("user", "without a name (4711:0)", |d: &mut Draft| {
    d.folder("workspace", 0o1777).variable("HOME=/workspace").set("User", json!("4711"));
})]
#[case::group("accounts", "missing: /etc/group", |d: &mut Draft| { d.remove("etc/group"); })]
#[case::working_dir("working_directory", "/work is not in the image", |d: &mut Draft| {
    d.set("WorkingDir", json!("/work"));
})]
#[case::home("home", "/home/learner is not in the image", |d: &mut Draft| { d.remove("home"); })]
#[case::home_of_root("home", "may not write to /home/learner", |d: &mut Draft| { d.folder("home/learner", 0o755); })]
#[case::no_workspace("workspace", "not in the image", |d: &mut Draft| {
    d.remove("workspace").set("WorkingDir", json!("/"));
})]
#[case::workspace("workspace", "may not write to /workspace", |d: &mut Draft| { d.folder("workspace", 0o755); })]
#[case::shell("shell", "no /bin/sh", |d: &mut Draft| { d.remove("bin/sh"); })]
#[case::own_shell("shell", "/bin/bash does not run", |d: &mut Draft| { d.remove("bin/bash"); })]
#[case::certificates("certificates", "no CA certificates", |d: &mut Draft| { d.remove("etc/ssl"); })]
#[case::empty_certificates("certificates", "no CA certificates", |d: &mut Draft| {
    d.file("etc/ssl/certs/ca-certificates.crt", 0o644, b"");
})]
#[case::resolver("resolver", "../run/systemd/stub, which is not there", |d: &mut Draft| {
    d.link("etc/resolv.conf", "../run/systemd/stub");
})]
#[case::resolver_folder("resolver", "no file", |d: &mut Draft| { d.folder("etc/resolv.conf", 0o755); })]
#[case::nsswitch("resolver", "/etc/nsswitch.conf", |d: &mut Draft| {
    d.file("lib/libc.so.6", 0o644, &Program::default().bytes());
})]
#[case::zones("time_zones", "every time is UTC", |d: &mut Draft| { d.remove("usr/share"); })]
#[case::local_time("time_zones", "/etc/localtime", |d: &mut Draft| {
    d.remove("usr/share").file("etc/localtime", 0o644, b"TZif");
})]
#[case::zone("time_zones", "TZ names", |d: &mut Draft| { d.variable("TZ=Asia/Tokyo"); })]
#[case::tmp("temporary_folder", "0755 instead of 1777", |d: &mut Draft| { d.folder("tmp", 0o755); })]
#[case::ports("ports", "3002", |d: &mut Draft| { d.set("ExposedPorts", json!({"3001/tcp": {}})); })]
#[case::udp("ports", "3001 and 3002", |d: &mut Draft| {
    d.set("ExposedPorts", json!({"3001/udp": {}, "3002/udp": {}}));
})]
#[case::health("health_check", "curl does not run", |d: &mut Draft| {
    d.set("Healthcheck", json!({"Test": ["CMD", "curl", "x"]}));
})]
#[case::odd_health("health_check", "neither CMD", |d: &mut Draft| { d.set("Healthcheck", json!({"Test": ["x"]})); })]
#[case::volumes("volumes", "/data", |d: &mut Draft| { d.set("Volumes", json!({"/data": {}, "/workspace": {}})); })]
#[case::signal("stop_signal", "SIGNONE", |d: &mut Draft| { d.set("StopSignal", json!("SIGNONE")); })]
#[case::key("secrets", "the variable OPENAI_KEY", |d: &mut Draft| { d.variable("OPENAI_KEY=abcdef"); })]
#[case::proxy("secrets", "the variable HTTP_PROXY", |d: &mut Draft| { d.variable("HTTP_PROXY=http://a:b@c:1"); })]
#[case::label("secrets", "the label my.token", |d: &mut Draft| { d.set("Labels", json!({"my.token": "abcdef"})); })]
#[case::broken("executables", "1 program of PATH cannot start: /usr/bin/tool (loader /lib/no: it is not there)",
    |d: &mut Draft| { d.file("usr/bin/tool", 0o755, &Program::dynamic("/lib/no", &[]).bytes()); })]
#[case::broken_script("executables", "/usr/bin/tool (its interpreter /usr/bin/perl", |d: &mut Draft| {
    d.file("usr/bin/tool", 0o755, b"#!/usr/bin/perl\n");
})]
#[case::foreign("foreign_executables", "1 file for another processor", |d: &mut Draft| {
    d.file("opt/tool", 0o755, &Program { machine: foreign().0, ..Program::default() }.bytes());
})]
#[case::setuid("setuid", "1 program runs as another user or group: /usr/bin/su", |d: &mut Draft| {
    d.file("usr/bin/su", 0o4755, &Program::default().bytes());
})]
#[case::setgid("setuid", "/usr/bin/wall", |d: &mut Draft| {
    d.file("usr/bin/wall", 0o2755, &Program::default().bytes());
})]
#[case::capabilities("capabilities", "/usr/bin/ping", |d: &mut Draft| {
    d.file("usr/bin/ping", 0o755, &Program::default().bytes());
    d.attribute("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
})]
#[case::writable("world_writable", "/etc/hosts", |d: &mut Draft| { d.file("etc/hosts", 0o666, b""); })]
#[case::writable_folder("world_writable", "/srv/", |d: &mut Draft| { d.folder("srv", 0o777); })]
#[case::key_file("secret_files", "/root/.ssh/id_ed25519", |d: &mut Draft| {
    d.file("root/.ssh/id_ed25519", 0o600, b"key");
})]
#[case::device("devices", "/opt/null", |d: &mut Draft| { d.device("opt/null"); })]
#[case::large("large_files", "/data.bin (2048 MiB)", |d: &mut Draft| {
    // Sparse, as GNU tar writes it (format 1.0): the map, then no data at all.
    let mut map = b"0\n".to_vec();
    map.resize(512, 0);
    d.file("data.bin", 0o644, &map);
    for (name, value) in [("major", "1"), ("minor", "0"), ("name", "data.bin"), ("realsize", "2147483648")] {
        d.attribute(&format!("GNU.sparse.{name}"), value.as_bytes());
    }
})]
fn what_an_operator_should_know(#[case] name: &str, #[case] detail: &str, #[case] change: fn(&mut Draft)) {
    let finding = only(name, Level::Warning, change);
    assert!(finding.detail.contains(detail), "{}", finding.detail);
}

#[rstest]
#[case::number("user", |d: &mut Draft| { d.set("User", json!("1000:1000")); })]
#[case::group("user", |d: &mut Draft| { d.set("User", json!("learner:learner")); })]
#[case::home_variable("home", |d: &mut Draft| { d.variable("HOME=/workspace").remove("home"); })]
#[case::no_mount_points("mount_points", |d: &mut Draft| { d.remove("proc").remove("sys").remove("run"); })]
#[case::linked("mount_points", |d: &mut Draft| { d.remove("run").folder("var/run", 0o755).link("run", "var/run"); })]
#[case::no_tmp("temporary_folder", |d: &mut Draft| { d.remove("tmp"); })]
#[case::fedora("certificates", |d: &mut Draft| {
    d.remove("etc/ssl").file("etc/pki/tls/certs/ca-bundle.crt", 0o644, b"x");
})]
#[case::glibc("resolver", |d: &mut Draft| {
    d.file("lib/libc.so.6", 0o644, &Program::default().bytes()).file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n");
})]
#[case::resolv("resolver", |d: &mut Draft| { d.file("etc/resolv.conf", 0o644, b""); })]
#[case::zone("time_zones", |d: &mut Draft| { d.variable("TZ=Europe/Berlin"); })]
#[case::range("ports", |d: &mut Draft| { d.set("ExposedPorts", json!({"3000-3010/tcp": {}})); })]
#[case::health("health_check", |d: &mut Draft| { d.set("Healthcheck", json!({"Test": ["CMD-SHELL", "true"]})); })]
#[case::no_health("health_check", |d: &mut Draft| { d.set("Healthcheck", json!({"Test": ["NONE"]})); })]
#[case::volumes("volumes", |d: &mut Draft| { d.set("Volumes", json!({"/workspace/x": {}})); })]
#[case::signal("stop_signal", |d: &mut Draft| { d.set("StopSignal", json!("15")); })]
#[case::public("secrets", |d: &mut Draft| { d.variable("GPG_KEY=ABCDEF").variable("DB_PASSWORD=").variable("A_TOKEN=/x"); })]
#[case::label("secrets", |d: &mut Draft| { d.set("Labels", json!({"org.clarateach.image.key": "abcdef"})); })]
#[case::script("executables", |d: &mut Draft| { d.file("usr/bin/tool", 0o755, b"#!/bin/sh -e\n"); })]
#[case::elsewhere("executables", |d: &mut Draft| { d.file("opt/tool", 0o755, b"#!/usr/bin/perl\n"); })]
#[case::not_a_program("foreign_executables", |d: &mut Draft| {
    d.file("opt/data", 0o644, &Program { machine: foreign().0, ..Program::default() }.bytes());
})]
#[case::setuid_folder("setuid", |d: &mut Draft| { d.folder("var/mail", 0o2775); })]
#[case::sticky("world_writable", |d: &mut Draft| { d.folder("var/lock", 0o1777).folder("var/tmp", 0o777); })]
#[case::link("world_writable", |d: &mut Draft| { d.link("etc/alias", "passwd"); })]
#[case::empty_key("secret_files", |d: &mut Draft| { d.file("root/.netrc", 0o600, b""); })]
#[case::device("devices", |d: &mut Draft| { d.device("dev/null"); })]
#[case::lost("lost_and_found", |d: &mut Draft| { d.folder("lost+found", 0o700); })]
fn what_is_no_reason_to_worry(#[case] name: &str, #[case] change: fn(&mut Draft)) {
    let (finding, report) = changed(name, change);
    assert_eq!(finding.level, Level::Ok, "{}", finding.detail);
    assert_eq!(report.verdict.as_str(), "boots");
}

#[test]
fn names_that_are_not_utf8_are_told() {
    let (finding, _) = changed("names", |draft| {
        draft.file(b"srv/caf\xe9", 0o644, b"");
    });
    assert_eq!(finding.level, Level::Warning);
    assert_eq!(finding.paths, ["/srv/caf\\xe9"]);
}

#[test]
fn an_image_without_users_has_numbers() {
    let (finding, report) = changed("accounts", |draft| {
        draft.remove("etc/passwd").set("User", json!("1000:1000"));
    });
    assert_eq!(finding.level, Level::Warning);
    assert!(finding.detail.contains("missing: /etc/passwd;"), "{}", finding.detail);
    assert!(report.user.name.is_none() && report.user.uid == Some(1000));
}

#[test]
fn an_empty_image_has_a_report_too() {
    let report = Draft::empty().report();
    assert_eq!(report.verdict.as_str(), "will_not_boot");
    assert_eq!((report.content_bytes, report.inodes), (0, 1));
    assert_eq!(report.working_dir, "/");
    assert_eq!(report.architecture, host_architecture());
}

#[test]
fn hostile_names_do_not_steer_a_terminal() {
    let report = {
        let mut draft = Draft::good();
        draft.file("usr/bin/\x1b[2J", 0o4755, b"#!/\x1b[2Jx\n");
        draft.set("Entrypoint", json!(["/\x1b[2J"])).set("WorkingDir", json!("/\x1b]0;x\x07"));
        draft.variable("A\x1b[2J_TOKEN=abcdef").set("User", json!("\x1b[2J"));
        draft.report()
    };
    for finding in &report.findings {
        assert!(!finding.detail.contains(char::is_control), "{finding:?}");
        assert!(finding.paths.iter().all(|path| !path.contains(char::is_control)), "{finding:?}");
    }
}
