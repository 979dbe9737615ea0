//! What is kept and must stay: used, needed, or made by a newer version.

use std::os::unix::fs::FileExt as _;

use rootfs::store::Owner;

use super::bed::Bed;

#[test]
fn what_a_living_process_uses_or_somebody_needs_is_not_removed() {
    let bed = Bed::new();
    let image = bed.archive("image.tar", 1 << 20);
    bed.run(&["build", "image.tar"]).code(0);
    let key = Bed::key(image);
    // This process is the other one.
    let store = bed.store();
    let used = store.get(&key).unwrap().unwrap();
    let outcome = || bed.json(&["gc", "--keep", "0"], 0)["entries"][0]["outcome"].clone();
    assert_eq!(outcome(), "kept: a process uses it");
    assert_eq!(bed.json(&["list"], 0)["entries"][0]["in_use"], true);
    let owner: Owner = "rust-101.1".parse().unwrap();
    used.pin(&owner).unwrap();
    drop(used);
    assert_eq!(outcome(), "kept: somebody needs it");
    let listed = bed.run(&["list"]).code(0).out;
    assert!(listed.contains("rust-101.1"), "{listed}");
    store.unpin(&key.name(), &owner).unwrap();
    assert_eq!(outcome(), "removed");
}

#[test]
fn damage_is_found_and_removed_when_nobody_uses_it() {
    let bed = Bed::new();
    let image = bed.archive("image.tar", 1 << 20);
    let made = bed.json(&["build", "image.tar"], 0);
    let rootfs = std::fs::File::options().write(true).open(made["rootfs"].as_str().unwrap()).unwrap();
    // The superblock's magic number.
    rootfs.write_all_at(&[0, 0], 1024 + 0x38).unwrap();
    let damaged = bed.json(&["verify"], 1);
    assert_eq!((&damaged["ok"], &damaged["entries"][0]["result"]), (&false.into(), &"damaged".into()));
    assert!(damaged["entries"][0]["digest"].as_str().unwrap().contains("it should be"), "{damaged}");
    let table = bed.run(&["verify"]).code(1).out;
    assert!(table.starts_with("damaged"), "{table}");

    let used = bed.store().get(&Bed::key(image)).unwrap().unwrap();
    assert_eq!(bed.json(&["verify", "--remove"], 1)["entries"][0]["result"], "damaged");
    drop(used);
    assert_eq!(bed.json(&["verify", "--remove"], 1)["entries"][0]["result"], "removed");
    assert_eq!(bed.names(), 0);
    assert_eq!(bed.json(&["build", "image.tar"], 0)["sha256"], made["sha256"]);
}

#[test]
fn what_a_newer_version_made_is_listed_and_left_alone() {
    let bed = Bed::new();
    bed.archive("image.tar", 4096);
    let made = bed.json(&["build", "image.tar"], 0);
    std::fs::write(made["image_json"].as_str().unwrap(), r#"{"schema": 2}"#).unwrap();
    let listed = bed.json(&["list"], 0);
    assert_eq!(listed["entries"][0]["state"], "newer");
    assert!(bed.run(&["list"]).code(0).out.contains("newer"));
    let kept = bed.json(&["gc"], 0);
    assert_eq!((&kept["entries"][0]["outcome"], &kept["freed"]), (&"kept".into(), &0.into()));
    let refused = bed.run(&["build", "image.tar"]).code(1);
    assert!(refused.err.contains("schema 2"), "{refused:?}");
    assert_eq!(bed.names(), 1);
}
