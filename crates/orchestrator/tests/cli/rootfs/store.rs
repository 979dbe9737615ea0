//! What is kept, by several processes at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::image::{archive, large_archive, names};
use super::{command, rootfs};
use crate::process::finish;

/// Far longer than anything takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);

fn start(folder: &Path, arguments: &[&str]) -> Child {
    command(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a file system is being made in a folder, under whatever name.
fn partial(folder: &Path, is_partial: impl Fn(&str) -> bool) -> PathBuf {
    let since = Instant::now();
    loop {
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found = found.filter(|entry| entry.file_name().to_str().is_some_and(&is_partial));
        if let Some(found) = found.next() {
            return found.path();
        }
        assert!(since.elapsed() < HANG, "nothing is being made in {}", folder.display());
        std::thread::yield_now();
    }
}

fn signalled(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn of_two_processes_one_converts() {
    let folder = tempfile::tempdir().unwrap();
    large_archive(&folder.path().join("image.tar"));
    let build = ["build", "image.tar", "--output", "json"];
    let both = [start(folder.path(), &build), start(folder.path(), &build)];
    let made = both.map(|child| finish(child).code(0).json());
    let mut outcomes = made.each_ref().map(|made| made["outcome"].as_str().unwrap());
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["found", "made"]);
    assert_eq!(made[0]["rootfs"], made[1]["rootfs"]);
    assert_eq!(made[0]["sha256"], made[1]["sha256"]);
    rootfs(folder.path(), &["verify"]).code(0);
}

#[test]
fn who_is_killed_leaves_nothing_that_the_next_one_keeps() {
    let folder = tempfile::tempdir().unwrap();
    large_archive(&folder.path().join("image.tar"));
    let store = folder.path().join("state/images");
    let build = ["build", "image.tar", "--output", "json"];
    let mut child = start(folder.path(), &build);
    partial(&store, |name| name.starts_with(".new-"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rootfs(folder.path(), &build).code(0).json()["outcome"], "made");
    let hidden: Vec<_> = names(&store).into_iter().filter(|name| name.starts_with(".new-")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");

    let to_file = ["build", "image.tar", "-o", "out.ext4"];
    let mut child = start(folder.path(), &to_file);
    partial(folder.path(), |name| name.ends_with(".partial"));
    child.kill().unwrap();
    child.wait().unwrap();
    rootfs(folder.path(), &to_file).code(0);
    assert_eq!(names(folder.path()), ["image.tar", "out.ext4", "out.image.json"]);
}

#[test]
fn who_is_interrupted_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    large_archive(&folder.path().join("image.tar"));
    for signal in [Signal::INT, Signal::TERM] {
        let child = start(folder.path(), &["build", "image.tar", "-o", "out.ext4"]);
        partial(folder.path(), |name| name.ends_with(".partial"));
        signalled(&child, signal);
        let done = finish(child);
        // It may have been done just before.
        if done.code == 0 {
            fs::remove_file(folder.path().join("out.ext4")).unwrap();
            fs::remove_file(folder.path().join("out.image.json")).unwrap();
        } else {
            assert!(done.code == 1 && done.err.contains("interrupted"), "{done:?}");
        }
        assert_eq!(names(folder.path()), ["image.tar"]);
    }
}

#[test]
fn what_is_kept_is_listed_checked_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    let made = rootfs(folder.path(), &["build", "docker-archive:image.tar:demo:1", "--output", "json"])
        .code(0)
        .json();
    let found = rootfs(folder.path(), &["build", "image.tar", "--output", "tsv"]).code(0);
    assert!(found.out.trim_end().ends_with("\tfound"), "{found:?}");

    let list = rootfs(folder.path(), &["list", "--output", "json"]).code(0).json();
    let entry = &list["entries"][0];
    assert_eq!((&entry["state"], &entry["in_use"]), (&"whole".into(), &false.into()));
    assert_eq!(entry["image"]["names"], serde_json::json!(["demo:1"]));
    let row = rootfs(folder.path(), &["list", "--output", "tsv"]).code(0);
    assert_eq!(row.out.trim_end().split('\t').count(), 8, "{row:?}");
    assert!(rootfs(folder.path(), &["list"]).code(0).out.contains("demo:1"));

    rootfs(folder.path(), &["verify", made["image"].as_str().unwrap()]).code(0);
    rootfs(folder.path(), &["verify", "ffff"]).code(3);
    // A bit of the file system itself.
    let path = PathBuf::from(made["rootfs"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[1024 + 0x38] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verdict = rootfs(folder.path(), &["verify", "--output", "json"]).code(1).json();
    assert_eq!((&verdict["ok"], &verdict["entries"][0]["result"]), (&false.into(), &"damaged".into()));
    rootfs(folder.path(), &["verify", "--remove"]).code(1);
    assert_eq!(rootfs(folder.path(), &["list", "--output", "tsv"]).code(0).out, "");
}

#[cfg(target_os = "linux")]
#[test]
fn seats_find_what_was_made_for_them_under_its_whole_name() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    let names = || {
        let files = fs::read_dir(folder.path().join("state/microvm/names")).into_iter().flatten().flatten();
        files
            .map(|file| serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap())
            .collect::<Vec<Value>>()
    };
    // What is made in another way than for a seat has no name.
    rootfs(folder.path(), &["build", "image.tar", "--size", "32MiB"]).code(0);
    assert_eq!(names(), [] as [Value; 0]);
    let made = rootfs(folder.path(), &["build", "image.tar", "--output", "json"]).code(0).json();
    let [name] = <[Value; 1]>::try_from(names()).unwrap();
    assert_eq!(name["image"], "docker.io/library/demo:1");
    let entry = PathBuf::from(made["rootfs"].as_str().unwrap());
    assert_eq!(name["entry"], entry.parent().unwrap().file_name().unwrap().to_str().unwrap());
    // Again, and what was there already is the same.
    rootfs(folder.path(), &["build", "docker-archive:image.tar:demo:1"]).code(0);
    assert_eq!(names(), [name]);
}

#[test]
fn rubbish_goes_by_age_and_by_size() {
    let folder = tempfile::tempdir().unwrap();
    archive(&folder.path().join("image.tar"));
    rootfs(folder.path(), &["build", "image.tar"]).code(0);
    let gc = |arguments: &[&str]| {
        rootfs(folder.path(), &[&["gc", "--output", "tsv"], arguments].concat()).code(0).out
    };
    assert!(gc(&[]).contains("\tkept\t"));
    assert!(gc(&["--unused-for", "30d"]).contains("\tkept\t"));
    assert!(gc(&["--keep", "20GiB"]).contains("\tkept\t"));
    assert!(gc(&["--keep", "0B", "--dry-run"]).contains("\twould be removed\t"));
    assert!(gc(&["--unused-for", "0s"]).contains("\tremoved\t"));
    assert_eq!(gc(&["--keep", "0B"]), "");
    let table = rootfs(folder.path(), &["gc"]).code(0);
    assert!(table.out.contains("0 kept"), "{table:?}");
    rootfs(folder.path(), &["gc", "--keep", "much"]).code(2);
    rootfs(folder.path(), &["gc", "--unused-for", "1"]).code(2);
}

#[test]
fn a_store_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state"), "a file").unwrap();
    let done = rootfs(folder.path(), &["list"]).code(1);
    assert!(done.err.contains("state") && done.err.contains("--state-dir"), "{done:?}");
}
