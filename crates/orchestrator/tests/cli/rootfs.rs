//! `orchestrator rootfs …` over archives: no engine and no service is needed.

mod bed;
mod image;
mod kept;
mod store;
mod trouble;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use image::{archive, large_archive, names, names_archive};
use rootfs::Digest;

use crate::process::{Done, orchestrator, run};

/// Runs a command in the folder, with a store in it.
pub(crate) fn rootfs(folder: &Path, arguments: &[&str]) -> Done {
    run(command(folder).args(arguments))
}

pub(crate) fn command(folder: &Path) -> std::process::Command {
    let mut command = orchestrator(folder);
    command.arg("rootfs").env("ORCHESTRATOR_STATE_DIR", folder.join("state"));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

#[test]
fn an_archive_becomes_a_file_with_its_document() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    let made =
        rootfs(folder.path(), &["build", "./image.tar", "-o", "out.ext4", "--output", "json"]).code(0).json();
    let file = folder.path().join("out.ext4");
    let bytes = fs::read(&file).unwrap();
    assert_eq!(made["sha256"], Digest::of(&bytes).to_string());
    assert_eq!(made["size"], bytes.len());
    assert_eq!(made["outcome"], "made");
    assert_eq!(made["allocated"], fs::metadata(&file).unwrap().blocks() * 512);
    for stage in ["scan", "layout", "write", "sync"] {
        assert!(made["stages"][stage].is_f64(), "{made}");
    }
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("out.image.json")).unwrap()).unwrap();
    assert_eq!(document["config"]["entrypoint"], serde_json::json!(["/bin/start"]));
    assert_eq!(document["sha256"], made["sha256"]);
    assert_eq!(names(folder.path()), ["image.tar", "out.ext4", "out.image.json"]);

    // The second time it is in the way, and the same bytes when it may be replaced.
    let again = ["build", "image.tar", "-o", "out.ext4"];
    let refused = rootfs(folder.path(), &again).code(4);
    assert!(refused.err.contains("--force"), "{refused:?}");
    rootfs(folder.path(), &[&again[..], &["--force"]].concat()).code(0);
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn people_read_what_was_made_and_how_long_it_took() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    let done = rootfs(folder.path(), &["build", "docker-archive:image.tar:demo:1", "-o", "out.ext4"]).code(0);
    let lines: Vec<_> = done.out.lines().collect();
    assert_eq!(lines[0], "out.ext4");
    assert!(lines[1].starts_with("made from demo:1 (sha256:"), "{done:?}");
    assert!(lines[2].contains("scan ") && lines[2].contains("sync "), "{done:?}");
    assert!(done.err.contains("reading names") && done.err.contains("writing content"), "{done:?}");
}

#[test]
fn the_size_and_the_init_program_are_as_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    fs::write(folder.path().join("agent"), "a program").unwrap();
    let plain = rootfs(folder.path(), &["build", "image.tar", "--output", "json"]).code(0).json();
    let with = ["build", "image.tar", "--output", "json", "--init", "agent"];
    let with = rootfs(folder.path(), &with).code(0).json();
    assert_ne!(plain["rootfs"], with["rootfs"]);
    assert_eq!(with["inodes"].as_u64().unwrap(), plain["inodes"].as_u64().unwrap() + 3);
    let large = ["build", "image.tar", "--output", "json", "--size", "64MiB"];
    assert_eq!(rootfs(folder.path(), &large).code(0).json()["size"], 64 << 20);
    // The same image three times, each of them kept.
    assert_eq!(rootfs(folder.path(), &["list", "--output", "tsv"]).code(0).out.lines().count(), 3);
}

#[test]
fn a_size_that_is_too_small_tells_the_least_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    large_archive(&folder.path().join("image.tar"));
    let build = |size: &str| rootfs(folder.path(), &["build", "image.tar", "-o", "out.ext4", "--size", size]);
    let refused = build("20MiB").code(2);
    let least = refused.err.split("--size ").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(names(folder.path()), ["image.tar"]);
    build(least).code(0);
    assert_eq!(fs::metadata(folder.path().join("out.ext4")).unwrap().len().to_string(), least);
}

#[test]
fn an_image_that_takes_more_memory_than_is_allowed_tells_how_much_to_allow() {
    let folder = tempfile::tempdir().unwrap();
    names_archive(&folder.path().join("image.tar"), 12_000);
    let with = |memory: &[&str]| {
        rootfs(folder.path(), &[&["build", "image.tar", "-o", "out.ext4"], memory].concat())
    };
    let refused = with(&["--memory", "64MiB"]).code(1);
    assert!(refused.err.contains("and 64 MiB are allowed"), "{}", refused.err);
    let enough = refused.err.split("--memory ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(names(folder.path()), ["image.tar"]);
    rootfs(folder.path(), &["inspect", "image.tar", "--memory", "64MiB"]).code(1);
    with(&["--memory", enough]).code(0);
}

#[test]
fn what_is_no_image_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    fs::write(folder.path().join("text"), "this is a text and no archive at all").unwrap();
    let whole = fs::read(folder.path().join("image.tar")).unwrap();
    fs::write(folder.path().join("short.tar"), &whole[..whole.len() / 2]).unwrap();
    for (arguments, code) in [
        (&["build", "./missing.tar"][..], 3),
        (&["build", "text"], 1),
        (&["build", "short.tar"], 1),
        (&["build", "docker-archive:image.tar:other"], 1),
        (&["build", "image.tar", "--architecture", "s390x"], 1),
        (&["build", "docker://"], 2),
        (&["build", "image.tar", "--size", "4G"], 2),
        (&["build", "image.tar", "--memory", "1MiB"], 2),
        (&["inspect", "image.tar", "--memory", "much"], 2),
        (&["build", "image.tar", "--init", "missing"], 2),
        (&["build", "image.tar", "--init", "."], 2),
        (&["build", "image.tar", "--writer", "cp"], 2),
        (&["build", "image.tar", "-o", "missing/out.ext4"], 3),
        (&["build", "image.tar", "-o", "."], 2),
        (&["build", "image.tar", "--force"], 2),
        (&["inspect", "text"], 1),
    ] {
        let done = rootfs(folder.path(), arguments);
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        assert!(done.err.contains("error: "), "{arguments:?}: {done:?}");
        assert!(done.out.is_empty(), "{arguments:?}: {done:?}");
    }
    assert_eq!(rootfs(folder.path(), &["list", "--output", "tsv"]).code(0).out, "");
}

#[test]
fn an_engine_that_is_not_there_is_told_with_the_other_ways() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.args(["build", "clarateach-workspace"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let done = run(&mut command).code(5);
    assert!(done.err.contains("/nonexistent/docker.sock") && done.err.contains("docker://"), "{done:?}");
}

#[test]
fn a_verdict_has_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    // What it starts is a script, and there is nothing that runs scripts.
    let report = rootfs(folder.path(), &["inspect", "image.tar", "--output", "json"]).code(1).json();
    assert_eq!(report["verdict"], "will_not_boot");
    let table = rootfs(folder.path(), &["inspect", "image.tar"]).code(1);
    assert!(table.out.starts_with("will not boot"), "{table:?}");
    let rows = rootfs(folder.path(), &["inspect", "image.tar", "--output", "tsv"]).code(1);
    assert!(rows.out.lines().all(|row| row.split('\t').count() == 4), "{rows:?}");
}
