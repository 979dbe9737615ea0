//! `orchestrator rootfs`: images to files and into the store, by real processes.

mod bed;
mod kept;
mod out;
mod trouble;

use bed::Bed;

#[test]
fn an_archive_goes_into_the_store_once() {
    let bed = Bed::new();
    bed.archive("image.tar", 1 << 20);
    let made = bed.json(&["build", "./image.tar"], 0);
    assert_eq!(made["outcome"], "made");
    assert_eq!(made["sha256"].as_str().unwrap(), bed.digest_of(made["rootfs"].as_str().unwrap()));
    assert!(made["content"].as_u64().unwrap() >= 1 << 20, "{made}");
    assert!(made["size"].as_u64().unwrap() >= made["allocated"].as_u64().unwrap(), "{made}");
    for stage in ["scan", "layout", "write", "sync"] {
        assert!(made["stages"][stage].is_number(), "{made}");
    }
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(made["image_json"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(document["image"], made["image"]);
    assert_eq!(document["config"]["entrypoint"][0], "/bin/shell");

    // The way it is written changes nothing.
    let found = bed.json(&["build", "docker-archive:image.tar:test:1"], 0);
    assert_eq!((&found["outcome"], &found["sha256"]), (&"found".into(), &made["sha256"]));
    let table = bed.run(&["build", "image.tar"]).code(0);
    assert!(table.out.contains("it was there"), "{table:?}");
    // Another size is another file.
    let larger = bed.json(&["build", "image.tar", "--size", "64MiB"], 0);
    assert_eq!((&larger["outcome"], &larger["size"]), (&"made".into(), &(64 << 20).into()));
    assert_ne!(larger["rootfs"], made["rootfs"]);
    assert_eq!(bed.names(), 2);
}

#[test]
fn a_person_reads_what_was_made_and_each_stage() {
    let bed = Bed::new();
    bed.archive("image.tar", 1 << 20);
    let made = bed.run(&["build", "image.tar"]).code(0);
    let lines: Vec<_> = made.out.lines().collect();
    assert!(lines[0].ends_with("rootfs.ext4"), "{made:?}");
    assert!(lines[1].contains("of the disk") && lines[1].contains("inodes"), "{made:?}");
    assert!(lines[2].starts_with("in ") && lines[2].contains("write "), "{made:?}");
    for stage in ["reading names", "laying out", "writing content", "syncing and hashing"] {
        assert!(made.err.contains(stage), "{made:?}");
    }
    let row = bed.run(&["--output", "tsv", "build", "image.tar"]).code(0);
    assert_eq!(row.out.trim_end().split('\t').count(), 6, "{row:?}");
    assert!(row.out.ends_with("\tfound\n") && row.err.is_empty(), "{row:?}");
}

#[test]
fn a_program_is_placed_to_boot_by_itself() {
    let bed = Bed::new();
    bed.archive("image.tar", 4096);
    let init = env!("CARGO_BIN_EXE_orchestrator");
    let missing = bed.run(&["build", "image.tar", "--init", "./nowhere"]).code(2);
    assert!(missing.err.contains("nowhere"), "{missing:?}");
    let plain = bed.json(&["build", "image.tar"], 0);
    let booting = bed.json(&["build", "image.tar", "--init", init], 0);
    assert_eq!(booting["outcome"], "made");
    assert_ne!(booting["sha256"], plain["sha256"]);
}

#[test]
fn an_archive_is_inspected() {
    let bed = Bed::new();
    bed.archive("image.tar", 4096);
    let report = bed.run(&["--output", "json", "inspect", "image.tar"]);
    // Its entrypoint is no program: it cannot boot, and says so.
    assert!(report.json().to_string().contains("/bin/shell"), "{report:?}");
    assert_ne!(report.code, 0, "{report:?}");
    assert_eq!(bed.names(), 0);
}
