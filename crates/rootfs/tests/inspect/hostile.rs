//! Images that are made to break what looks at them.

use proptest::prelude::*;
use rootfs::inspect::{Level, Verdict};
use serde_json::json;

use super::draft::Draft;
use super::program::Program;

/// Bytes that begin like what is looked into, or like nothing.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let start = prop_oneof![
        Just(b"#!".to_vec()),
        Just(b"#!/usr/bin/env ".to_vec()),
        Just(b"#!/bin/start ".to_vec()),
        Just(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec()),
        Just(Vec::new()),
    ];
    (start, bytes).prop_map(|(start, bytes)| [start, bytes].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_files_and_any_configuration_have_a_report(
        start in head(),
        tool in head(),
        passwd in proptest::collection::vec(any::<u8>(), 0..200),
        release in proptest::collection::vec(any::<u8>(), 0..200),
        loader in proptest::collection::vec(any::<u8>(), 0..200),
        words in proptest::collection::vec(".{0,20}", 5..6),
        target in "[a-z./]{1,20}",
    ) {
        let mut draft = Draft::good();
        draft.file("bin/start", 0o755, &start).file("usr/bin/tool", 0o755, &tool);
        draft.file("etc/passwd", 0o644, &passwd).file("etc/os-release", 0o644, &release);
        draft.file("etc/ld.so.conf", 0o644, &loader).link("usr/bin/env", &target).link("bin/sh", &target);
        draft.set("User", json!(words[0])).set("WorkingDir", json!(words[1])).set("StopSignal", json!(words[2]));
        draft.set("Cmd", json!([words[3]])).set("Healthcheck", json!({"Test": ["CMD", words[4]]}));
        draft.variable(&words[3]).variable(&format!("PATH={}", words[4]));
        let report = draft.report();
        prop_assert_eq!(report.verdict, Verdict::of(&report.findings));
        for finding in &report.findings {
            prop_assert!(!finding.detail.contains(char::is_control), "{:?}", finding);
            prop_assert_eq!(finding.remedy.is_none(), finding.level == Level::Ok, "{:?}", finding);
        }
    }

    #[test]
    fn a_program_with_one_byte_changed_has_a_report(at in 7_usize..500, byte in any::<u8>()) {
        let mut program = Program::dynamic("/lib/ld.so", &["liba.so", "libb.so"]).bytes();
        let at = at % program.len();
        program[at] = byte;
        let mut draft = Draft::good();
        draft.file("bin/start", 0o755, &program).file("lib/ld.so", 0o755, &Program::default().bytes());
        let report = draft.report();
        prop_assert!(report.finding("program").is_some() || report.finding("interpreter").is_some());
    }
}

#[test]
fn long_lists_and_long_ways_come_to_an_end() {
    let mut draft = Draft::good();
    // Links to links to links, with detours, and lists of folders without end.
    let detour = "x/../".repeat(700);
    draft.folder("x", 0o755);
    for number in 0..60 {
        draft.link(format!("l{number}"), &format!("{detour}l{}", number + 1));
    }
    let list = "/l0:".repeat(50_000);
    draft.variable(&format!("PATH=/l0:{list}")).variable(&format!("LD_LIBRARY_PATH={list}"));
    let needed: Vec<String> = (0..500).map(|number| format!("lib{number}.so")).collect();
    let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
    let mut program = Program::dynamic("/bin/sh", &needed);
    program.runpath = Some("/l0:".repeat(900));
    draft.file("bin/start", 0o755, &program.bytes());
    draft.file("etc/ld.so.conf", 0o644, "/l0\n".repeat(10_000).as_bytes());
    let report = draft.report();
    let libraries = report.finding("libraries").unwrap();
    assert!(libraries.paths.len() <= rootfs::inspect::MOST_PATHS, "{}", libraries.paths.len());
    assert!(libraries.detail.len() < 1000, "{}", libraries.detail);
}

#[test]
fn libraries_that_need_each_other_are_loaded_once() {
    let mut draft = Draft::good();
    draft.file("bin/start", 0o755, &Program::dynamic("/bin/sh", &["liba.so"]).bytes());
    draft.file("lib/liba.so", 0o644, &Program::library(&["libb.so"]).bytes());
    draft.file("lib/libb.so", 0o644, &Program::library(&["liba.so"]).bytes());
    let report = draft.report();
    let libraries = report.finding("libraries").unwrap();
    assert_eq!(libraries.detail, "/bin/start needs 2 libraries, all there");
}
