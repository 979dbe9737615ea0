//! What is said of an image before anybody starts it: every finding appears where it should, and nowhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "inspect/around.rs"]
mod around;
#[path = "inspect/draft.rs"]
mod draft;
#[path = "inspect/hostile.rs"]
mod hostile;
#[path = "inspect/program.rs"]
mod program;
#[path = "inspect/real.rs"]
mod real;
#[path = "inspect/starts.rs"]
mod starts;

use rootfs::build::BuildError;
use rootfs::inspect::{Finding, Level, Report, Verdict, inspect};
use rootfs::source::{Choice, Image, host_architecture};
use rootfs::{Digest, Limits};
use serde_json::{Value, json};

use crate::draft::Draft;

/// What is said about one thing of a good image that was changed; about everything else it is still good.
fn changed(name: &str, change: impl FnOnce(&mut Draft)) -> (Finding, Report) {
    let mut draft = Draft::good();
    change(&mut draft);
    let report = draft.report();
    let finding = report.finding(name).unwrap_or_else(|| panic!("nothing about {name}: {report:#?}")).clone();
    (finding, report)
}

/// The one finding that is not ok after a change.
fn only(name: &str, level: Level, change: impl FnOnce(&mut Draft)) -> Finding {
    let (finding, report) = changed(name, change);
    let wrong = report.findings.iter().filter(|finding| finding.level != Level::Ok);
    let wrong: Vec<_> = wrong.map(|finding| (finding.name, finding.level, &finding.detail)).collect();
    assert_eq!(wrong, [(finding.name, level, &finding.detail)]);
    assert_eq!(finding.name, name);
    assert!(finding.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()), "{finding:?}");
    let verdict = if level == Level::Warning { Verdict::BootsWithWarnings } else { Verdict::WillNotBoot };
    assert_eq!(report.verdict, verdict);
    finding
}

#[test]
fn a_good_image_boots() {
    let report = Draft::good().report();
    let wrong: Vec<_> = report.findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(report.verdict, Verdict::Boots);
    assert!(report.findings.iter().all(|finding| finding.remedy.is_none() && !finding.detail.is_empty()));
    let names: Vec<_> = report.findings.iter().map(|finding| finding.name).collect();
    assert_eq!(
        names,
        [
            "os",
            "architecture",
            "file_system",
            "program",
            "program_architecture",
            "init_system",
            "user",
            "accounts",
            "working_directory",
            "home",
            "workspace",
            "shell",
            "certificates",
            "resolver",
            "time_zones",
            "temporary_folder",
            "mount_points",
            "ports",
            "health_check",
            "volumes",
            "stop_signal",
            "secrets",
            "executables",
            "foreign_executables",
            "setuid",
            "capabilities",
            "world_writable",
            "secret_files",
            "devices",
            "names",
            "large_files",
            "lost_and_found"
        ]
    );
}

#[test]
fn the_document_keeps_its_shape() {
    let mut draft = Draft::good();
    draft.set("Healthcheck", json!({"Test": ["CMD", "/bin/sh"], "Interval": 5}));
    draft.set("Volumes", json!({"/workspace": {}}));
    draft.set("Cmd", json!(["serve"]));
    draft.set("StopSignal", json!("SIGINT"));
    draft.file("etc/group", 0o644, b"learner:x:1000:\nextra:x:7:learner\n");
    let report = draft.report();
    let mut document = serde_json::to_value(&report).unwrap();
    let findings = document["findings"].take();
    assert_eq!(
        findings[0],
        json!({"name": "os", "level": "ok", "detail": "linux", "remedy": null, "paths": []})
    );
    assert!(document["file_bytes"].take().as_u64().unwrap() >= 16 << 20);
    let image = document["image"].take();
    assert!(image.as_str().unwrap().parse::<Digest>().is_ok());
    let content = document["content_bytes"].take().as_u64().unwrap();
    assert!(content > 300, "{content}");
    assert_eq!(
        document,
        json!({
            "schema": 1,
            "verdict": "boots",
            "image": null,
            "architecture": host_architecture(),
            "os": "linux",
            "distribution": {"id": "test", "version": "1", "name": "Test 1"},
            "starts": {
                "entrypoint": ["/bin/start"],
                "command": ["serve"],
                "chain": [{"path": "/bin/start", "kind": "static"}],
            },
            "user": {"asked": "learner", "name": "learner", "uid": 1000, "gid": 1000, "groups": [7],
                     "home": "/home/learner", "shell": "/bin/bash"},
            "working_dir": "/workspace",
            "ports": ["3001/tcp", "3002/tcp"],
            "health_check": {"test": ["CMD", "/bin/sh"], "interval": 5, "timeout": 0, "start_period": 0,
                             "retries": 0},
            "volumes": ["/workspace"],
            "stop_signal": "SIGINT",
            "environment": ["PATH"],
            "layers": 1,
            "content_bytes": null,
            "inodes": 26,
            "file_bytes": null,
            "findings": null,
        })
    );
}

#[test]
fn the_size_is_that_of_the_file_that_is_built() {
    let folder = tempfile::tempdir().unwrap();
    Draft::good().write(folder.path());
    let image = Image::open(folder.path(), &Choice::default()).unwrap();
    let report = inspect(&image, &Limits::default()).unwrap();
    let options = rootfs::build::Options::default();
    let built = rootfs::build::build(&image, &folder.path().join("file"), &options, &rootfs::Quiet).unwrap();
    assert_eq!(report.file_bytes, Some(built.size));
    assert_eq!((report.content_bytes, report.inodes), (built.content, built.inodes as u64));
}

#[test]
fn no_value_of_the_environment_or_of_a_label_is_told() {
    let secret = "hunter2-and-more";
    let mut draft = Draft::good();
    draft.variable(&format!("DB_PASSWORD={secret}")).variable(&format!("PLAIN={secret}"));
    draft.variable(&format!("TZ=Nowhere/{secret}")).variable(&format!("LD_LIBRARY_PATH=/{secret}"));
    draft.set("Labels", json!({"api.token": secret, "other": secret}));
    let report = draft.report();
    assert_eq!(report.finding("secrets").unwrap().level, Level::Warning);
    assert_eq!(report.environment, ["DB_PASSWORD", "LD_LIBRARY_PATH", "PATH", "PLAIN", "TZ"]);
    assert!(!serde_json::to_string(&report).unwrap().contains(secret));
    assert!(!format!("{report:?}").contains(secret));
}

#[test]
fn a_damaged_image_is_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    Draft::good().write(folder.path());
    let image = Image::open(folder.path(), &Choice::default()).unwrap();
    let limits = Limits { entries: 3, ..Limits::default() };
    assert!(matches!(inspect(&image, &limits), Err(BuildError::Layer(_))));
    let index: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("index.json")).unwrap()).unwrap();
    let blob = |digest: &Value| {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        folder.path().join("blobs/sha256").join(digest.hex())
    };
    let manifest = std::fs::read(blob(&index["manifests"][0]["digest"])).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = blob(&manifest["layers"][0]["digest"]);
    let mut bytes = std::fs::read(&layer).unwrap();
    // A byte of the content of the first file.
    bytes[600] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    assert!(matches!(inspect(&image, &Limits::default()), Err(BuildError::Damaged { layer: 0, .. })));
}
