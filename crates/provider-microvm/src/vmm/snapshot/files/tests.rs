use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use super::super::Traits;
use super::*;

fn make(folder: &Path) -> Result<(), SnapshotError> {
    let unfinished = write(folder)?;
    unfinished.state().write_all_at(b"processors", 0).unwrap();
    let memory = Memory::empty(1).unwrap();
    File::options().write(true).open(memory.path()).unwrap().write_all_at(b"page", 8192).unwrap();
    unfinished.finish(&memory, Traits::sample())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_opened_and_replaced() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    for _ in 0..2 {
        make(&folder).unwrap();
        assert_eq!(names(at.path()), ["golden"]);
        assert_eq!(names(&folder), ["memory", "snapshot.json", "state"]);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let snapshot = Snapshot::open(&folder).unwrap();
    snapshot.fits(&Traits::sample()).unwrap();
    // It goes on when its folder is gone, and everybody reads from the beginning.
    fs::remove_dir_all(&folder).unwrap();
    for _ in 0..2 {
        let mut text = String::new();
        io::Read::read_to_string(&mut snapshot.state().unwrap(), &mut text).unwrap();
        assert_eq!(text, "processors");
    }
    let mut page = [0; 4];
    File::open(snapshot.memory().path()).unwrap().read_exact_at(&mut page, 8192).unwrap();
    assert_eq!(&page, b"page");
}

/// Seats of two openings have memory of their own, or the host's page cache of one file.
#[test]
fn memory_is_told_apart_by_whom_it_is_shared_with() {
    let at = tempfile::tempdir().unwrap();
    for monitor in [MonitorKind::Qemu, MonitorKind::Firecracker] {
        let folder = at.path().join(format!("{monitor:?}"));
        let opening = || Snapshot::open(&folder).unwrap().opening().to_owned();
        let made = || {
            let traits = Traits { monitor, ..Traits::sample() };
            write(&folder).unwrap().finish(&Memory::empty(1).unwrap(), traits).unwrap();
        };
        made();
        let (one, again) = (opening(), opening());
        assert_eq!(one == again, monitor == MonitorKind::Firecracker, "{monitor:?}");
        assert_eq!(one.len(), 16);
        made();
        assert_ne!(opening(), one, "another file of the same name");
    }
}

#[test]
fn what_was_half_written_has_no_name_and_is_made_anew() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    drop(write(&folder).unwrap());
    assert!(names(at.path()).is_empty());
    // As a kill leaves it.
    fs::create_dir(at.path().join("golden.new")).unwrap();
    fs::write(at.path().join("golden.new/memory"), b"half").unwrap();
    let why = Snapshot::open(&folder).unwrap_err().to_string();
    assert!(why.ends_with("golden is not whole: there is no snapshot.json; it has to be made anew"), "{why}");
    make(&folder).unwrap();
    assert_eq!(names(at.path()), ["golden"]);
    Snapshot::open(&folder).unwrap();
}

#[test]
fn whatever_fails_while_it_is_written_the_one_before_stays_and_nothing_else() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    let (new, old) = (at.path().join("golden.new"), at.path().join("golden.old"));
    make(&folder).unwrap();
    let before = fs::read(folder.join("snapshot.json")).unwrap();
    let finished = |spoil: &dyn Fn()| {
        let unfinished = write(&folder)?;
        spoil();
        unfinished.finish(&Memory::empty(1).unwrap(), Traits::sample())
    };
    let steps: [(&str, &dyn Fn()); 4] = [
        ("making its memory", &|| fs::create_dir(new.join("memory")).unwrap()),
        ("writing snapshot.json", &|| fs::create_dir(new.join("snapshot.json")).unwrap()),
        // A folder only is replaced.
        ("giving it its name", &|| fs::write(&old, b"not ours").unwrap()),
        ("making its memory", &|| fs::remove_dir_all(&new).unwrap()),
    ];
    for (step, spoil) in steps {
        let why = finished(spoil).unwrap_err().to_string();
        assert!(why.contains(step), "{step}: {why}");
        drop(fs::remove_file(&old));
        assert_eq!(names(at.path()), ["golden"], "{step}");
        assert_eq!(fs::read(folder.join("snapshot.json")).unwrap(), before, "{step}");
        Snapshot::open(&folder).unwrap();
    }
    // Killed between the two names, which the next one brings in order.
    fs::rename(&folder, &old).unwrap();
    fs::create_dir(&new).unwrap();
    Snapshot::open(&folder).unwrap_err();
    make(&folder).unwrap();
    assert_eq!(names(at.path()), ["golden"]);
}

#[test]
fn what_was_given_up_and_ends_after_all_takes_nothing_from_whoever_began_anew() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    let (late, next) = (write(&folder).unwrap(), write(&folder).unwrap());
    next.state().write_all_at(b"processors", 0).unwrap();
    let memory = Memory::empty(1).unwrap();
    let why = late.finish(&memory, Traits::sample()).unwrap_err().to_string();
    assert!(why.contains("somebody else makes it now"), "{why}");
    assert_eq!(names(at.path()), ["golden.new"]);
    next.finish(&memory, Traits::sample()).unwrap();
    assert_eq!(names(at.path()), ["golden"]);
}

#[test]
fn what_reads_differently_from_how_it_was_written_gets_no_name() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    for (spoilt, at_byte) in [("memory", 8192), ("memory", 0), ("state", 3)] {
        let unfinished = write(&folder).unwrap();
        unfinished.state().write_all_at(b"processors", 0).unwrap();
        let memory = Memory::empty(1).unwrap();
        File::options().write(true).open(memory.path()).unwrap().write_all_at(b"page", 8192).unwrap();
        let (written, description) = unfinished.fill(&memory, Traits::sample()).unwrap();
        unfinished.verify(&written, &description).unwrap();
        // As a disk does that is about to fail.
        let disk = File::options().write(true).open(at.path().join("golden.new").join(spoilt)).unwrap();
        disk.write_all_at(b"x", at_byte).unwrap();
        let why = unfinished.verify(&written, &description).unwrap_err();
        assert!(matches!(&why, SnapshotError::Damaged { file, .. } if *file == spoilt), "{why}");
        let wanted = format!("{spoilt} reads differently from how it was written: look at the disk's health");
        assert!(why.to_string().ends_with(&wanted), "{why}");
        drop(unfinished);
        assert!(names(at.path()).is_empty());
    }
}

#[test]
fn what_is_cut_short_or_of_another_program_is_refused_in_words() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    let said = |change: &dyn Fn(&Path)| {
        make(&folder).unwrap();
        change(&folder);
        Snapshot::open(&folder).unwrap_err().to_string()
    };
    let cut = |name: &'static str| {
        move |folder: &Path| File::options().write(true).open(folder.join(name)).unwrap().set_len(5).unwrap()
    };
    assert!(said(&cut("state")).contains("is not whole: state has 5 bytes of 10;"));
    assert!(said(&cut("memory")).contains("is not whole: memory has 5 bytes of 1048576;"));
    assert!(said(&cut("snapshot.json")).contains("snapshot.json is not understood"));
    assert!(said(&|folder| fs::remove_file(folder.join("memory")).unwrap()).contains("there is no memory"));
    let newer =
        |folder: &Path| fs::write(folder.join("snapshot.json"), br#"{"format": 7, "new": []}"#).unwrap();
    assert!(said(&newer).contains("has the format 7, and this program reads 1;"));
}

#[test]
fn what_differs_is_named_with_both() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("golden");
    make(&folder).unwrap();
    let snapshot = Snapshot::open(&folder).unwrap();
    let said = |change: fn(&mut Traits)| {
        let mut here = Traits::sample();
        change(&mut here);
        let why = snapshot.fits(&here).unwrap_err().to_string();
        let (_, said) = why.split_once("was made ").unwrap();
        said.strip_suffix("; it has to be made anew").unwrap().to_owned()
    };
    assert_eq!(
        said(|here| here.version = "7.2.23".into()),
        "with the monitor's version 7.2.22, and here it is 7.2.23"
    );
    assert_eq!(
        said(|here| here.processor = "KVM".into()),
        "with the processor QEMU's own, and here it is KVM"
    );
    assert_eq!(
        said(|here| here.drives[0].bytes = 8192),
        "with the disks root to be read of 4096 bytes, and here it is root to be read of 8192 bytes"
    );
    let others: [fn(&mut Traits); 7] = [
        |here| here.program.clear(),
        |here| here.kernel.clear(),
        |here| here.initramfs.clear(),
        |here| here.image.clear(),
        |here| here.vcpus = 2,
        |here| here.memory_mib = 2,
        |here| here.machine.clear(),
    ];
    for (number, change) in others.into_iter().enumerate() {
        assert!(said(change).contains("and here it is"), "{number}");
    }
}
