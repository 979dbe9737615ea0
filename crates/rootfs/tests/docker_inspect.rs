//! Real images, as an engine saves them, and whether the report on them is right: what it says starts does start.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod support;

use std::process::{Command, Stdio};

use rootfs::Limits;
use rootfs::inspect::{Level, LinkKind, Report, Verdict, inspect};
use rootfs::source::{Choice, Image};
use support::{docker, saved};

fn report(image: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let choice = Choice { name: Some(image.into()), ..Choice::default() };
    let opened = Image::open(&saved(image, folder.path()), &choice).unwrap();
    let report = inspect(&opened, &Limits::default()).unwrap();
    assert_eq!(report.image.to_string(), docker(&["image", "inspect", "--format", "{{.Id}}", image]));
    report
}

/// The names of the findings that are not ok.
fn wrong(report: &Report) -> Vec<&str> {
    let wrong = report.findings.iter().filter(|finding| finding.level != Level::Ok);
    wrong.map(|finding| finding.name).collect()
}

/// An image made from another one by a few lines, gone when it is dropped.
struct Made(String);

impl Made {
    fn new(name: &str, lines: &str) -> Self {
        let tag = format!("rootfs-inspect-{name}-{}", std::process::id());
        let mut child = Command::new("docker")
            .args(["build", "--quiet", "--force-rm", "--no-cache", "--tag", &tag, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        Self(format!("{tag}:latest"))
    }

    /// Whether the engine can start it at all.
    fn starts(&self) -> bool {
        let output =
            Command::new("docker").args(["run", "--rm", "--network=none", &self.0]).output().unwrap();
        // docker-run(1): 125 is the engine's own error, 126 and 127 that the command cannot be started. What the kernel
        // refuses when it is to be run ends with 1 and a message.
        let unknown = String::from_utf8_lossy(&output.stderr).lines().any(|line| line.starts_with("exec /"));
        !unknown && !matches!(output.status.code(), Some(125..=127))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.0]);
    }
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn the_reference_workspace_boots() {
    let report = report("clarateach-workspace:latest");
    assert_ne!(report.verdict, Verdict::WillNotBoot, "{:#?}", report.findings);
    assert_eq!(report.starts.chain.first().unwrap().kind, LinkKind::Dynamic);
    assert_eq!(report.starts.chain.last().unwrap().kind, LinkKind::Loader);
    for name in
        ["program", "loader", "libraries", "user", "home", "workspace", "shell", "certificates", "ports"]
    {
        assert_eq!(report.finding(name).unwrap().level, Level::Ok, "{:?}", report.finding(name));
    }
    assert_eq!(report.user.name.as_deref(), Some("learner"));
    assert_eq!(report.distribution.as_ref().unwrap().id, "debian");
    // What is said of setuid programs is what the image's own find says.
    let find = ["-xdev", "-type", "f", "-perm", "/6000", "-perm", "/0111"];
    let arguments =
        ["run", "--rm", "--user=0", "--network=none", "--entrypoint=find", "clarateach-workspace", "/"];
    let found = docker(&[&arguments[..], &find[..]].concat());
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    let setuid = report.finding("setuid").unwrap();
    assert_eq!(setuid.paths, found);
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn a_small_image_boots() {
    let report = report("clarateach-testbed:latest");
    assert_eq!(report.verdict, Verdict::BootsWithWarnings);
    // It is busybox and nothing else.
    assert_eq!(wrong(&report), ["certificates", "time_zones"]);
    let kinds: Vec<_> = report.starts.chain.iter().map(|link| link.kind).collect();
    assert_eq!(kinds, [LinkKind::Script, LinkKind::Static]);
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn what_the_engine_cannot_start_will_not_boot() {
    let cases = [
        ("missing", "program", r#"ENTRYPOINT ["/bin/other"]"#),
        ("path", "program", r#"ENTRYPOINT ["other"]"#),
        ("mode", "program", "RUN cp /bin/busybox /tool && chmod 644 /tool\nENTRYPOINT [\"/tool\"]"),
        ("folder", "program", r#"ENTRYPOINT ["/etc"]"#),
        ("text", "program", "RUN echo echo hello > /tool && chmod 755 /tool\nENTRYPOINT [\"/tool\"]"),
        (
            "script",
            "interpreter",
            "RUN echo '#!/bin/none' > /tool && chmod 755 /tool\nENTRYPOINT [\"/tool\"]",
        ),
        (
            "windows",
            "interpreter",
            "RUN printf '#!/bin/sh\\r\\n' > /tool && chmod 755 /tool\nENTRYPOINT [\"/tool\"]",
        ),
        ("user", "user", "USER nobody-knows"),
        ("group", "user", "USER 1000:nobody-knows"),
        (
            "barred",
            "program",
            "RUN mkdir -m 700 /no && cp /bin/busybox /no/tool\nUSER 1000\nENTRYPOINT [\"/no/tool\"]",
        ),
    ];
    for (name, finding, lines) in cases {
        let made = Made::new(
            &format!("fails-{name}"),
            &format!("FROM clarateach-testbed\nUSER root\n{lines}\nCMD [\"true\"]\n"),
        );
        let report = report(&made.0);
        assert!(!made.starts(), "{name}: the engine starts it: {:#?}", report.findings);
        assert_eq!(report.verdict, Verdict::WillNotBoot, "{name}: {:#?}", report.findings);
        assert_eq!(report.finding(finding).unwrap().level, Level::WillNotBoot, "{name}");
    }
}

#[test]
#[ignore = "docker tier: needs a Docker engine"]
fn what_the_engine_starts_boots() {
    let cases = [
        ("busybox", r#"ENTRYPOINT ["busybox"]"#),
        ("relative", "WORKDIR /bin\nENTRYPOINT [\"./busybox\"]"),
        ("linked", "RUN ln -s ../bin /opt && ln -s /opt/busybox /true\nENTRYPOINT [\"/true\"]"),
        (
            "script",
            "RUN printf '#! /bin/busybox sh\\nexec \"$@\"\\n' > /tool && chmod 755 /tool\nENTRYPOINT [\"/tool\"]",
        ),
        ("number", "USER 4711:4712\nENTRYPOINT [\"/bin/busybox\"]"),
        ("workdir", "WORKDIR /made/for/it\nENTRYPOINT [\"/bin/busybox\"]"),
    ];
    for (name, lines) in cases {
        let made = Made::new(
            &format!("starts-{name}"),
            &format!("FROM clarateach-testbed\nUSER root\n{lines}\nCMD [\"true\"]\n"),
        );
        let report = report(&made.0);
        assert!(made.starts(), "{name}: the engine does not start it");
        assert_ne!(report.verdict, Verdict::WillNotBoot, "{name}: {:#?}", report.findings);
    }
}
