//! The store: made once, used by many, removed by nobody who may not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::{Layout, layer};
use rootfs::build::{BuildError, CONVERTER, Options, build};
use rootfs::source::{Choice, Image};
use rootfs::store::{Check, Keep, Key, Owner, Policy, State, Store, StoreError};
use rootfs::{Digest, ImageFile, Quiet};

struct Bed {
    _folder: tempfile::TempDir,
    store: Store,
    image: Image,
    _layout: Layout,
}

impl Bed {
    fn new() -> Self {
        let layout = Layout::new();
        layout.index(&[layout.image(&[layer("a", b"content")])]);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("images")).unwrap();
        Self {
            store,
            image: Image::open(layout.path(), &Choice::default()).unwrap(),
            _layout: layout,
            _folder: folder,
        }
    }

    fn key(&self, variant: u64) -> Key {
        Key {
            image: self.image.id,
            platform: "linux/amd64".into(),
            converter: CONVERTER.into(),
            writer: "mkext4".into(),
            init: None,
            size: (variant > 0).then_some(variant),
        }
    }

    fn build(&self, path: &Path) -> Result<ImageFile, StoreError> {
        let options = Options::default();
        let built = build(&self.image, path, &options, &Quiet)?;
        Ok(ImageFile::new(&self.image, &options, &built, Vec::new()))
    }

    fn make(&self, variant: u64) -> rootfs::store::InUse {
        self.store.get_or_build(&self.key(variant), || {}, |path| self.build(path)).unwrap()
    }

    fn used(&self, variant: u64, ago: Duration) {
        let name = self.key(variant).name();
        let file = std::fs::File::create(self.store.folder().join(name.as_str()).join("used")).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    /// Everything in the folder, locks included.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in [self.store.folder().to_owned(), self.store.folder().join(".locks")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                files.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        files.retain(|name| name != ".locks");
        files.sort();
        files
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn of_many_who_ask_one_builds() {
    let bed = Bed::new();
    let (builds, waits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Barrier::new(8);
    let made: Vec<_> = std::thread::scope(|scope| {
        let asking = || {
            start.wait();
            let waiting = || {
                waits.fetch_add(1, Ordering::Relaxed);
            };
            let build = |path: &Path| {
                builds.fetch_add(1, Ordering::Relaxed);
                bed.build(path)
            };
            // A store of its own each, as processes have.
            let store = Store::open(bed.store.folder()).unwrap();
            store.get_or_build(&bed.key(0), waiting, build).unwrap()
        };
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(asking)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(builds.load(Ordering::Relaxed), 1);
    assert_eq!(made.iter().filter(|made| made.is_new).count(), 1);
    for made in &made {
        assert_eq!(Digest::of(&std::fs::read(made.rootfs()).unwrap()), made.image.sha256);
        assert!(made.image_json().exists());
    }
    let found = bed.store.get(&bed.key(0)).unwrap().unwrap();
    assert!(!found.is_new);
    assert!(bed.store.get(&bed.key(1)).unwrap().is_none());
}

#[test]
fn a_build_that_fails_leaves_nothing_and_the_next_one_tries() {
    let bed = Bed::new();
    let fails = |path: &Path| {
        std::fs::write(path, "half").unwrap();
        Err(StoreError::Build(BuildError::Layers(1)))
    };
    let error = bed.store.get_or_build(&bed.key(0), || {}, fails).unwrap_err();
    assert!(matches!(error, StoreError::Build(_)), "{error}");
    let lock = bed.key(0).name().to_string();
    assert_eq!(bed.files(), [lock.as_str()]);
    assert!(bed.make(0).is_new);
}

#[test]
fn what_a_dead_process_left_goes_away() {
    let bed = Bed::new();
    let name = bed.key(0).name();
    for prefix in ["new", "old"] {
        let left = bed.store.folder().join(format!(".{prefix}-{name}"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("rootfs.ext4"), "half").unwrap();
    }
    // What is not ours stays.
    std::fs::write(bed.store.folder().join("README"), "mine").unwrap();
    std::fs::create_dir(bed.store.folder().join(".new-thing")).unwrap();
    Store::open(bed.store.folder()).unwrap();
    assert_eq!(bed.files(), [".new-thing", "README"]);
}

#[test]
fn a_build_that_goes_on_is_not_taken_for_dead() {
    let bed = Bed::new();
    let build = |path: &Path| {
        let other = Store::open(bed.store.folder()).unwrap();
        assert!(
            other.collect(&Policy { keep_bytes: Some(0), ..Policy::default() }).unwrap().removed.is_empty()
        );
        bed.build(path)
    };
    assert!(bed.store.get_or_build(&bed.key(0), || {}, build).unwrap().is_new);
}

#[test]
fn what_is_used_or_kept_stays_and_the_rest_goes_by_age_and_size() {
    let bed = Bed::new();
    let in_use = bed.make(1);
    let owner: Owner = "rust-101.1".parse().unwrap();
    bed.make(2).pin(&owner).unwrap();
    drop(bed.make(3));
    drop(bed.make(4));
    bed.used(1, 4 * HOUR);
    bed.used(2, 3 * HOUR);
    bed.used(3, 2 * HOUR);
    let other = Store::open(bed.store.folder()).unwrap();
    let listed: Vec<_> = other.list().unwrap();
    let names: Vec<_> = listed.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names, [4, 3, 2, 1].map(|variant| bed.key(variant).name()));
    let needed: Vec<_> = listed.iter().map(rootfs::store::Entry::is_needed).collect();
    assert_eq!(needed, [false, false, true, true]);
    assert!(listed.iter().all(|entry| entry.allocated > 0 && matches!(entry.state, State::Whole(_))));

    let old = Policy { unused_for: Some(HOUR), dry_run: true, ..Policy::default() };
    let would = other.collect(&old).unwrap();
    assert_eq!(other.list().unwrap(), listed);
    let did = other.collect(&Policy { dry_run: false, ..old }).unwrap();
    assert_eq!((&did.removed, did.freed), (&would.removed, would.freed));
    assert_eq!(did.removed, [listed[1].clone()]);
    assert_eq!(did.freed, listed[1].allocated);
    let kept: Vec<_> = did.kept.iter().map(|(entry, keep)| (entry.name.clone(), *keep)).collect();
    let expected = [(1, Keep::InUse), (2, Keep::Pinned), (4, Keep::Wanted)];
    assert_eq!(kept, expected.map(|(variant, keep)| (bed.key(variant).name(), keep)));

    let small = Policy { keep_bytes: Some(0), ..Policy::default() };
    assert_eq!(other.collect(&small).unwrap().removed.len(), 1);
    assert!(in_use.rootfs().exists());
    drop(in_use);
    other.unpin(&bed.key(2).name(), &owner).unwrap();
    other.unpin(&bed.key(2).name(), &owner).unwrap();
    assert_eq!(other.collect(&small).unwrap().removed.len(), 2);
    Store::open(bed.store.folder()).unwrap();
    assert_eq!(bed.files(), Vec::<String>::new());
}

#[test]
fn a_watermark_takes_no_more_than_it_must() {
    let bed = Bed::new();
    for variant in 1..=3 {
        drop(bed.make(variant));
        bed.used(variant, HOUR * u32::try_from(variant).unwrap());
    }
    let each = bed.store.list().unwrap()[0].allocated;
    let policy = Policy { keep_bytes: Some(each * 2), ..Policy::default() };
    let removed = bed.store.collect(&policy).unwrap().removed;
    assert_eq!(removed.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), [bed.key(3).name()]);
}

#[test]
fn damage_is_found_and_says_what_it_is() {
    let bed = Bed::new();
    let made = bed.make(0);
    let name = bed.key(0).name();
    let verdict = bed.store.verify(&name).unwrap().unwrap();
    assert!(verdict.is_whole());
    assert_eq!(verdict.digest, Check::Fine);
    let mut bytes = std::fs::read(made.rootfs()).unwrap();
    // The superblock's magic number.
    bytes[1024 + 0x38] ^= 0xff;
    std::fs::write(made.rootfs(), &bytes).unwrap();
    let verdict = bed.store.verify(&name).unwrap().unwrap();
    assert!(matches!(verdict.digest, Check::Wrong(_)), "{verdict:?}");
    assert!(!matches!(verdict.file_system, Check::Fine), "{verdict:?}");
    std::fs::write(made.rootfs(), "short").unwrap();
    assert!(matches!(bed.store.list().unwrap()[0].state, State::Damaged(_)));
    assert!(!bed.store.verify(&name).unwrap().unwrap().is_whole());

    let mut newer = made.image.clone();
    newer.schema += 1;
    newer.write(&made.image_json()).unwrap();
    let State::Newer(why) = &bed.store.list().unwrap()[0].state else { panic!() };
    assert!(why.contains("schema"), "{why}");
    assert!(bed.store.get(&bed.key(0)).is_err());
    assert!(!bed.store.remove(&name).unwrap(), "somebody uses it");
    drop(made);
    assert!(
        bed.store.collect(&Policy::default()).unwrap().removed.is_empty(),
        "it is whole for whoever knows it"
    );
    std::fs::write(bed.store.folder().join(name.as_str()).join("image.json"), "{").unwrap();
    // Damaged entries go whatever the policy says.
    assert_eq!(bed.store.collect(&Policy::default()).unwrap().removed.len(), 1);
    assert!(bed.store.verify(&name).unwrap().is_none());
}

#[test]
fn what_is_damaged_is_made_anew_and_stays_kept() {
    let bed = Bed::new();
    let owner: Owner = "rust-101.1".parse().unwrap();
    let made = bed.make(0);
    made.pin(&owner).unwrap();
    let (rootfs, document, expected) = (made.rootfs(), made.image_json(), made.image.sha256);
    drop(made);
    let damages: [&dyn Fn(); 4] = [
        &|| std::fs::write(&rootfs, "short").unwrap(),
        &|| std::fs::remove_file(&rootfs).unwrap(),
        &|| std::fs::write(&document, "{").unwrap(),
        &|| std::fs::remove_file(&document).unwrap(),
    ];
    for damage in damages {
        damage();
        assert!(bed.store.get(&bed.key(0)).unwrap().is_none());
        let again = bed.make(0);
        assert!(again.is_new);
        assert_eq!(Digest::of(&std::fs::read(again.rootfs()).unwrap()), expected);
        drop(again);
        assert_eq!(bed.store.list().unwrap()[0].pins, std::slice::from_ref(&owner));
        let name = bed.key(0).name().to_string();
        assert_eq!(bed.files(), [name.clone(), name], "the entry, and its lock");
    }
}

#[test]
fn what_is_damaged_and_in_use_is_said_and_not_waited_for() {
    let bed = Bed::new();
    let made = bed.make(0);
    std::fs::write(made.rootfs(), "short").unwrap();
    let error = bed.store.get_or_build(&bed.key(0), || {}, |path| bed.build(path)).unwrap_err();
    assert!(matches!(error, StoreError::Held(_)), "{error}");
    assert_eq!(std::fs::read(made.rootfs()).unwrap(), b"short", "whoever uses it still has it");
    drop(made);
    assert!(bed.make(0).is_new);
}

#[test]
fn what_a_newer_version_made_stays_whatever_is_in_it() {
    let bed = Bed::new();
    let document = bed.make(0).image_json();
    std::fs::write(&document, r#"{"schema": 2, "wholly": "different"}"#).unwrap();
    let State::Newer(_) = &bed.store.list().unwrap()[0].state else { panic!() };
    assert!(bed.store.collect(&Policy::default()).unwrap().removed.is_empty());
    let built = bed.store.get_or_build(&bed.key(0), || {}, |path| bed.build(path));
    assert!(matches!(built, Err(StoreError::Io { .. })), "{built:?}");
    assert!(document.exists());
}

#[test]
fn only_the_owner_can_look_into_a_store_or_keep_others_waiting() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bed.store.folder()), 0o700);
    // One that is there is as its owner made it.
    std::fs::set_permissions(bed.store.folder(), std::fs::Permissions::from_mode(0o750)).unwrap();
    Store::open(bed.store.folder()).unwrap();
    assert_eq!(mode(bed.store.folder()), 0o750);
}

#[test]
fn a_file_in_the_place_of_an_entry_is_a_damaged_entry() {
    let bed = Bed::new();
    let place = bed.store.folder().join(bed.key(0).name().as_str());
    std::fs::write(&place, "a file").unwrap();
    assert!(matches!(bed.store.list().unwrap()[0].state, State::Damaged(_)));
    assert_eq!(bed.store.collect(&Policy::default()).unwrap().removed.len(), 1);
    std::fs::write(&place, "a file").unwrap();
    assert!(bed.make(0).is_new);
    assert!(place.is_dir());
}
