//! What starts: programs, scripts, loaders and libraries.

use rootfs::inspect::{Level, LinkKind};
use rootfs::source::host_architecture;
use rstest::rstest;
use serde_json::json;

use super::draft::Draft;
use super::program::{Program, foreign};
use super::{changed, only};

const LOADER: &str = "/lib/ld-linux.so.2";

/// A program with a loader and libraries, and what of it is where.
fn dynamic(draft: &mut Draft, needed: &[&str]) {
    draft.file("bin/start", 0o755, &Program::dynamic(LOADER, needed).bytes());
    draft.file("lib/ld-linux.so.2", 0o755, &Program::default().bytes());
}

#[rstest]
#[case::nothing("program", "neither an entrypoint nor a command", |d: &mut Draft| { d.set("Entrypoint", json!(null)); })]
#[case::missing("program", "is not there", |d: &mut Draft| { d.set("Entrypoint", json!(["/bin/other"])); })]
#[case::not_in_path("program", "no folder of PATH has it", |d: &mut Draft| { d.set("Entrypoint", json!(["other"])); })]
#[case::empty_name("program", "it is empty", |d: &mut Draft| { d.set("Entrypoint", json!([""])); })]
#[case::folder("program", "is a folder", |d: &mut Draft| { d.set("Entrypoint", json!(["/usr/bin"])); })]
#[case::device("program", "is no file", |d: &mut Draft| { d.device("dev/x").set("Entrypoint", json!(["/dev/x"])); })]
#[case::mode("program", "not executable for its user (mode 0700, owner 0:0)",
    |d: &mut Draft| { d.file("bin/start", 0o700, &Program::default().bytes()); })]
#[case::dangling("program", "is a symbolic link to /opt/start, which is not there",
    |d: &mut Draft| { d.link("bin/start", "/opt/start"); })]
#[case::text("program", "neither an ELF program nor a script",
    |d: &mut Draft| { d.file("bin/start", 0o755, b"echo hello\n"); })]
#[case::empty("program", "neither an ELF program nor a script", |d: &mut Draft| { d.file("bin/start", 0o755, b""); })]
#[case::unreadable("program", "a script that its user may not read",
    |d: &mut Draft| { d.file("bin/start", 0o711, b"#!/bin/sh\n"); })]
#[case::object("program", "an ELF file, and no program",
    |d: &mut Draft| { d.file("bin/start", 0o755, &Program { kind: 1, ..Program::default() }.bytes()); })]
#[case::interpreter("interpreter", "/usr/bin/python3 does not run: it is not there",
    |d: &mut Draft| { d.file("bin/start", 0o755, b"#!/usr/bin/python3 -u\n"); })]
#[case::interpreter_mode("interpreter", "not executable", |d: &mut Draft| {
    d.file("bin/start", 0o755, b"#! /bin/odd\n").file("bin/odd", 0o644, b"");
})]
#[case::nameless("interpreter", "names no interpreter", |d: &mut Draft| { d.file("bin/start", 0o755, b"#!\n"); })]
fn what_does_not_start(#[case] name: &str, #[case] detail: &str, #[case] change: fn(&mut Draft)) {
    // The folders of PATH hold it as well, so that there may be a second finding.
    let (finding, _) = changed(name, change);
    assert_eq!(finding.level, Level::WillNotBoot);
    assert!(finding.detail.contains(detail), "{}", finding.detail);
}

#[rstest]
#[case("/bin/start", "/bin/start (static")]
#[case("start", "start is /bin/start (static")]
#[case("./start", "./start is /workspace/start (static")]
#[case("/sbin/start", "/sbin/start is /bin/start (static")]
fn what_starts_is_found_as_the_kernel_finds_it(#[case] called: &str, #[case] detail: &str) {
    let (finding, report) = changed("program", |draft| {
        draft.file("workspace/start", 0o755, &Program::default().bytes());
        draft.link("sbin", "usr/../bin").set("Entrypoint", json!(null)).set("Cmd", json!([called]));
    });
    assert_eq!(finding.level, Level::Ok);
    assert!(finding.detail.starts_with(detail), "{}", finding.detail);
    assert_eq!(report.starts.chain[0].kind, LinkKind::Static);
}

#[test]
fn the_first_executable_one_in_path_counts() {
    let (finding, _) = changed("program", |draft| {
        draft.file("usr/bin/start", 0o644, b"").set("Entrypoint", json!(["start"]));
    });
    assert_eq!(finding.level, Level::Ok, "{}", finding.detail);
    // Neither root nor others can do without the bit.
    let (finding, _) = changed("program", |draft| {
        draft.file("usr/bin/start", 0o644, b"").remove("bin/start");
        draft.set("Entrypoint", json!(["start"])).set("User", json!("root"));
    });
    assert_eq!(finding.level, Level::WillNotBoot);
}

#[test]
fn a_folder_that_may_not_be_entered_bars_the_way() {
    let change = |draft: &mut Draft| {
        draft.folder("root", 0o700).file("root/start", 0o755, &Program::default().bytes());
        draft.set("Entrypoint", json!(["/root/start"]));
    };
    let finding = only("program", Level::WillNotBoot, change);
    assert!(finding.detail.contains("/root/start may not be entered"), "{}", finding.detail);
    let (finding, _) = changed("program", |draft| {
        change(draft);
        draft.set("User", json!("root"));
    });
    assert_eq!(finding.level, Level::Ok);
}

#[test]
fn scripts_lead_to_their_interpreters() {
    let (finding, report) = changed("program", |draft| {
        draft.file("bin/start", 0o755, b"#!/usr/bin/env -S A=b inner -x\nexec true\n");
        draft.file("usr/bin/env", 0o755, &Program::default().bytes());
        draft.file("usr/bin/inner", 0o755, b"#! \t/bin/sh\n");
    });
    assert_eq!(finding.level, Level::Ok, "{}", finding.detail);
    let chain: Vec<_> = report.starts.chain.iter().map(|link| (link.path.as_str(), link.kind)).collect();
    assert_eq!(
        chain,
        [
            ("/bin/start", LinkKind::Script),
            ("/usr/bin/inner", LinkKind::Script),
            ("/bin/sh", LinkKind::Static)
        ]
    );
}

#[rstest]
#[case(b"#!/bin/sh\r\n", "end as in Windows")]
#[case(b"#!/usr/bin/env sh\r\nx\r\n", "end as in Windows")]
#[case(b"#!/usr/bin/env python3\n", "python3 does not run: no folder of PATH has it")]
#[case(b"#!/usr/bin/env sh -e\n", "splits with -S only")]
fn common_mistakes_in_scripts_are_named(#[case] script: &[u8], #[case] detail: &str) {
    let (finding, _) = changed("interpreter", |draft| {
        draft.file("usr/bin/env", 0o755, &Program::default().bytes());
        draft.file("bin/start", 0o755, script);
    });
    assert_eq!(finding.level, Level::WillNotBoot);
    assert!(finding.detail.contains(detail), "{}", finding.detail);
}

#[rstest]
#[case(3, Level::Ok, "program")]
#[case(4, Level::WillNotBoot, "interpreter")]
fn scripts_of_scripts_come_to_an_end(#[case] more: usize, #[case] level: Level, #[case] name: &str) {
    let (finding, _) = changed(name, |draft| {
        for number in 0..more {
            let script = format!("#!/lib/s{}\n", number + 1);
            let path = if number == 0 { "bin/start".into() } else { format!("lib/s{number}") };
            draft.file(path, 0o755, script.as_bytes());
        }
        draft.file(format!("lib/s{more}"), 0o755, b"#!/bin/sh\n");
    });
    assert_eq!(finding.level, level, "{}", finding.detail);
}

#[test]
fn a_script_that_is_its_own_interpreter_ends_too() {
    let (finding, _) = changed("interpreter", |draft| {
        draft.file("bin/start", 0o755, b"#!/bin/start\n");
    });
    assert_eq!(finding.level, Level::WillNotBoot);
}

#[test]
fn what_a_small_init_starts_is_looked_at() {
    let tini = |program: &'static str| {
        move |draft: &mut Draft| {
            draft.file("bin/tini", 0o755, &Program::default().bytes());
            draft.set("Entrypoint", json!(["tini", "--"])).set("Cmd", json!([program]));
        }
    };
    let finding = only("wrapped_program", Level::WillNotBoot, tini("/bin/other"));
    assert!(finding.detail.contains("/bin/other"), "{}", finding.detail);
    assert_eq!(changed("wrapped_program", tini("start")).0.level, Level::Ok);
    assert!(Draft::good().report().finding("wrapped_program").is_none());
}

#[test]
fn files_that_the_program_is_told_of_are_looked_for() {
    let told = |path: &'static str| {
        move |draft: &mut Draft| {
            draft.set("Cmd", json!([path, "--port", "1"]));
        }
    };
    let finding = only("arguments", Level::Warning, told("/app/server.js"));
    assert_eq!(finding.paths, ["/app/server.js"]);
    assert_eq!(changed("arguments", told("/bin/bash")).0.level, Level::Ok);
    assert!(Draft::good().report().finding("arguments").is_none());
}

#[test]
fn a_program_for_another_processor_does_not_start() {
    let (machine, name) = foreign();
    let (finding, report) = changed("program_architecture", |draft| {
        draft.file("bin/start", 0o755, &Program { machine, ..Program::default() }.bytes());
    });
    assert_eq!(finding.level, Level::WillNotBoot);
    assert!(finding.detail.contains(name) && finding.detail.contains(host_architecture()));
    let foreign = report.finding("foreign_executables").unwrap();
    assert_eq!((foreign.level, foreign.paths.as_slice()), (Level::Warning, &["/bin/start".to_owned()][..]));
}

#[test]
fn a_program_of_this_host_in_an_image_of_another_is_told() {
    let (_, name) = foreign();
    let (finding, report) = changed("program_architecture", |draft| draft.architecture = name.into());
    assert_eq!(finding.level, Level::Warning);
    assert_eq!(report.finding("architecture").unwrap().level, Level::WillNotBoot);
}

#[test]
fn a_loader_must_be_there() {
    let (finding, report) = changed("loader", |draft| {
        draft.file("bin/start", 0o755, &Program::dynamic("/lib/ld-musl-x.so.1", &[]).bytes());
    });
    assert_eq!(finding.level, Level::WillNotBoot);
    assert!(finding.detail.contains("/bin/start needs the loader /lib/ld-musl-x.so.1"), "{}", finding.detail);
    assert!(finding.remedy.unwrap().contains("musl"));
    let broken = report.finding("executables").unwrap();
    assert_eq!(broken.level, Level::Warning);
    let (finding, report) = changed("loader", |draft| dynamic(draft, &[]));
    assert_eq!(finding.level, Level::Ok);
    assert_eq!(report.starts.chain.last().unwrap().path, LOADER);
    let (finding, _) = changed("loader", |draft| {
        dynamic(draft, &[]);
        draft.file(
            "lib/ld-linux.so.2",
            0o755,
            &Program { machine: foreign().0, ..Program::default() }.bytes(),
        );
    });
    assert_eq!(finding.level, Level::WillNotBoot);
    let (finding, _) = changed("loader", |draft| {
        dynamic(draft, &[]);
        draft.file("lib/ld-linux.so.2", 0o755, b"no loader");
    });
    assert_eq!(finding.level, Level::WillNotBoot);
}

#[test]
fn libraries_that_are_not_there_are_named() {
    let finding = only("libraries", Level::Warning, |draft| {
        dynamic(draft, &["libone.so.1", "libtwo.so.2"]);
        draft.file("usr/lib/libone.so.1", 0o644, &Program::library(&["libdeep.so.3"]).bytes());
    });
    assert_eq!(finding.paths, ["libtwo.so.2 (for /bin/start)", "libdeep.so.3 (for /usr/lib/libone.so.1)"]);
}

#[rstest]
#[case::standard("usr/lib/libone.so.1", |_: &mut Draft, _: &mut Program| {})]
#[case::configured("opt/libs/libone.so.1", |d: &mut Draft, _: &mut Program| {
    d.file("etc/ld.so.conf", 0o644, b"include /etc/ld.so.conf.d/*.conf\n");
    d.file("etc/ld.so.conf.d/x.conf", 0o644, b"# a comment\n/opt/libs # another\n");
})]
#[case::variable("opt/libs/libone.so.1", |d: &mut Draft, _: &mut Program| {
    d.variable("LD_LIBRARY_PATH=/nowhere:/opt/libs");
})]
#[case::runpath("opt/libs/libone.so.1", |_: &mut Draft, p: &mut Program| { p.runpath = Some("/opt/libs".into()); })]
#[case::origin("opt/libs/libone.so.1", |_: &mut Draft, p: &mut Program| {
    p.runpath = Some("/nowhere:$ORIGIN/../opt/libs".into());
})]
#[case::braces("bin/libone.so.1", |_: &mut Draft, p: &mut Program| { p.rpath = Some("${ORIGIN}".into()); })]
#[case::path("opt/libone.so", |_: &mut Draft, p: &mut Program| { p.needed = vec!["/opt/libone.so".into()]; })]
fn libraries_are_looked_for_where_the_loader_does(
    #[case] library: &str,
    #[case] change: fn(&mut Draft, &mut Program),
) {
    let draft = |with: bool| {
        move |draft: &mut Draft| {
            dynamic(draft, &[]);
            let mut program = Program::dynamic(LOADER, &["libone.so.1"]);
            change(draft, &mut program);
            draft.file("bin/start", 0o755, &program.bytes());
            if with {
                draft.file(library, 0o644, &Program::library(&["ld-linux.so.2"]).bytes());
            }
        }
    };
    assert_eq!(changed("libraries", draft(true)).0.level, Level::Ok);
    assert_eq!(changed("libraries", draft(false)).0.level, Level::Warning);
}

#[test]
fn a_library_for_another_processor_is_none() {
    let (finding, _) = changed("libraries", |draft| {
        dynamic(draft, &["libone.so.1"]);
        draft.file("lib/libone.so.1", 0o644, &Program { machine: foreign().0, ..Program::default() }.bytes());
    });
    assert_eq!(finding.level, Level::Warning);
}

#[test]
fn init_systems_are_named() {
    let finding = only("init_system", Level::Warning, |draft| {
        draft.file("lib/systemd/systemd", 0o755, &Program::default().bytes());
        draft.link("sbin/init", "/lib/systemd/systemd").set("Entrypoint", json!(["/sbin/init"]));
    });
    assert!(finding.detail.contains("/lib/systemd/systemd"), "{}", finding.detail);
    let finding = only("init_system", Level::Warning, |draft| {
        draft.folder("package/admin/s6-overlay", 0o755).file("init", 0o755, b"#!/bin/sh -e\n");
        draft.set("Entrypoint", json!(["/init"]));
    });
    assert!(finding.detail.contains("s6-overlay"), "{}", finding.detail);
}
