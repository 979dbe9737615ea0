use rootfs::Digest;
use rootfs::inspect::{Distribution, Link, SCHEMA, Starts};
use rstest::rstest;

use super::*;

fn finding(name: &'static str, level: Level, detail: &str, remedy: Option<&str>) -> Finding {
    Finding { name, level, detail: detail.into(), remedy: remedy.map(Into::into), paths: Vec::new() }
}

fn report(findings: Vec<Finding>) -> Report {
    Report {
        schema: SCHEMA,
        verdict: Verdict::of(&findings),
        image: Digest::of(b""),
        architecture: "amd64".into(),
        os: "linux".into(),
        distribution: Some(Distribution {
            id: "debian".into(),
            version: "12".into(),
            name: "Debian 12".into(),
        }),
        starts: Starts {
            entrypoint: vec!["/start".into(), "a b".into()],
            command: vec!["\x1b[2Jit's".into()],
            chain: vec![
                Link { path: "/start".into(), kind: LinkKind::Script },
                Link { path: "/bin/dash".into(), kind: LinkKind::Static },
            ],
        },
        user: User { uid: Some(7), gid: Some(8), groups: vec![9], home: "/".into(), ..User::default() },
        working_dir: "/work".into(),
        ports: vec!["3001/tcp".into(), "3002/tcp".into()],
        health_check: None,
        volumes: Vec::new(),
        stop_signal: "SIGTERM".into(),
        environment: (0..30).map(|number| format!("A_VARIABLE_{number}")).collect(),
        layers: 3,
        content_bytes: 5 << 20,
        inodes: 12,
        file_bytes: Some(32 << 20),
        findings,
    }
}

fn all_levels() -> Report {
    report(vec![
        finding("os", Level::Ok, "linux", None),
        finding("setuid", Level::Warning, &"/bin/a, ".repeat(30), Some(&"remove them ".repeat(10))),
        finding("program", Level::WillNotBoot, &"/x".repeat(100), Some("install it")),
    ])
}

fn plain(report: &Report) -> Vec<String> {
    lines(report, &|_, text| text.to_owned())
}

#[test]
fn the_table_is_readable_at_100_columns_and_begins_with_the_worst() {
    let lines = plain(&all_levels());
    for line in &lines {
        assert!(line.chars().count() <= COLUMNS, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(lines[0], "will not boot, for 1 reason");
    assert!(at("will not boot  program") < at("warning        setuid"));
    assert!(at("warning        setuid") < at("ok             os"));
    assert!(at("what to do: install it") > at("will not boot  program"));
    assert_eq!(lines.last().unwrap(), "3 checks, will not boot: 1, warnings: 1");
}

#[test]
fn the_facts_are_in_the_table() {
    let text = plain(&all_levels()).join("\n");
    for part in [
        &Digest::of(b"").to_string(),
        "linux/amd64",
        "Debian 12",
        r"/start 'a b' '\u{1b}[2Jit'\''s'",
        "/start (script) → /bin/dash (static)",
        "root (7:8), groups 9, home /",
        "3001/tcp, 3002/tcp",
        "5 MiB in 12 inodes, from 3 layers",
        "32 MiB",
        "A_VARIABLE_29",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn rows_have_four_columns_the_worst_first() {
    let rows = rows(&all_levels());
    assert_eq!(
        rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(),
        ["will_not_boot", "warning", "ok"]
    );
    assert_eq!(rows[2], ["ok", "os", "linux", ""]);
}

#[rstest]
#[case(vec![], "boots", Exit::Ok)]
#[case(vec![finding("os", Level::Ok, "", None)], "boots", Exit::Ok)]
#[case(vec![finding("os", Level::Warning, "", None)], "boots with 1 warning", Exit::Ok)]
#[case(vec![finding("os", Level::WillNotBoot, "", None); 2], "will not boot, for 2 reasons", Exit::Failure)]
fn only_an_image_that_does_not_boot_fails(
    #[case] findings: Vec<Finding>,
    #[case] words: &str,
    #[case] code: Exit,
) {
    let report = report(findings);
    assert_eq!(plain(&report)[0], words);
    assert_eq!(exit(&report), code);
}

#[rstest]
#[case("", &[""])]
#[case("a b", &["a b"])]
#[case("aaa bbb ccc", &["aaa bbb", "ccc"])]
#[case("aaaaaaaaaaaaaaaaaaab", &["aaaaaaaa", "aaaaaaaa", "aaab"])]
#[case("a bbbbbbbbb c", &["a", "bbbbbbbb", "b c"])]
fn texts_are_folded(#[case] text: &str, #[case] folded: &[&str]) {
    assert_eq!(fold(text, 8), folded);
}
