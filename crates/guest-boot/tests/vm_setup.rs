//! Boots prepared of the distribution's real kernel, and of what is no good.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use guest_boot::check::Has;
use guest_boot::{Boot, BootError, SetupError, SetupOptions, prepared, setup};
use tempfile::TempDir;

/// The folder that `scripts/ensure-guest-kernel.sh` makes: a kernel package as it is when it is unpacked.
fn package() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
    set("CLARATEACH_GUEST").unwrap_or_else(|| cache().join("clarateach/guest"))
}

/// Any static program is good enough to be put there; the package folder has one.
fn options(from: &Path, folder: &TempDir) -> SetupOptions {
    SetupOptions {
        from: Some(from.into()),
        agent: package().join("bin/busybox"),
        folder: folder.path().join("boot"),
        unpack: false,
    }
}

/// The files of an archive, by Python's hands: nothing of ours.
fn unpacked(archive: &Path) -> Vec<String> {
    let script = "
import sys
data = open(sys.argv[1], 'rb').read()
at = 0
while True:
    assert data[at:at + 6] == b'070701', at
    n = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
    name = data[at + 110:at + 110 + n[11] - 1].decode()
    if name == 'TRAILER!!!':
        break
    body = (at + 110 + n[11] + 3) & ~3
    print(name, oct(n[1]), n[6])
    at = (body + n[6] + 3) & ~3
";
    let output = std::process::Command::new("python3").args(["-Ic", script]).arg(archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a guest kernel"]
fn the_distributions_kernel_becomes_a_boot_and_the_same_one_again() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = setup(&options(&package(), &folder)).unwrap();
    assert!(report.version.ends_with("amd64"), "{report:?}");
    assert!(report.checks.iter().all(|check| check.has != Has::Missing), "{:?}", report.checks);
    let place = |name: &str| report.modules.iter().position(|module| module == name);
    for name in ["virtio_blk", "virtio_net", "virtio_console", "overlay", "vmw_vsock_virtio_transport"] {
        assert!(place(name).is_some(), "{name} is not in {:?}", report.modules);
    }
    assert!(place("virtio") < place("virtio_blk") && place("failover") < place("virtio_net"));

    let boot = Boot::open(&folder.path().join("boot")).unwrap();
    assert_eq!(boot.id().as_str(), report.id);
    let files = unpacked(&boot.initramfs());
    assert!(files.iter().any(|file| file.starts_with("init 0o100755")), "{files:?}");
    let first = format!("modules/000-{}.ko 0o100644", report.modules[0]);
    assert!(files.iter().any(|file| file.starts_with(&first)), "{files:?}");
    assert_eq!(files.iter().filter(|file| file.starts_with("modules/")).count(), report.modules.len());

    let again = setup(&options(&package(), &folder)).unwrap();
    assert_eq!(again.id, report.id);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(setup(&options(&package(), &elsewhere)).unwrap().id, report.id, "the same bytes anywhere");
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_packed_kernel_is_kept_as_the_elf_file_in_it_where_that_is_asked_for() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packed = setup(&options(&package(), &folder)).unwrap();
    let report = setup(&SetupOptions { unpack: true, ..options(&package(), &folder) }).unwrap();
    assert_eq!((report.format.to_string(), &report.version), ("ELF vmlinux".to_owned(), &packed.version));
    assert_ne!(report.id, packed.id);
    let boot = Boot::open(&folder.path().join("boot")).unwrap();
    assert_eq!(fs::read(boot.kernel()).unwrap()[..4], *b"\x7fELF");
    assert_eq!(boot.about().format, report.format);
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_new_boot_leaves_those_that_are_used() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("boot");
    let first = setup(&options(&package(), &folder)).unwrap();
    let first = Boot::of_id(&place, &first.id.parse().unwrap()).unwrap();
    // Another agent: one more byte at the end of a program changes nothing but the digest.
    let mut agent = fs::read(package().join("bin/busybox")).unwrap();
    agent.push(0);
    let other = folder.path().join("agent");
    fs::write(&other, agent).unwrap();
    let second = setup(&SetupOptions { agent: other, ..options(&package(), &folder) }).unwrap();
    assert_ne!(second.id, first.id().as_str());
    assert_eq!(Boot::open(&place).unwrap().id().as_str(), second.id);
    assert!(prepared::prune(&place, std::slice::from_ref(first.id())).unwrap().is_empty());
    assert!(first.kernel().exists());
    assert_eq!(prepared::prune(&place, &[]).unwrap(), [first.id().clone()]);
    assert!(!first.kernel().exists());
    assert!(Boot::open(&place).is_ok());
}

/// A package that lacks something: links to everything of the real one but that.
fn without(lacking: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let real = package();
    let version = fs::read_dir(real.join("lib/modules")).unwrap().next().unwrap().unwrap().file_name();
    fs::create_dir_all(folder.path().join("boot")).unwrap();
    for entry in fs::read_dir(real.join("boot")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join("boot").join(entry.file_name())).unwrap();
    }
    let from = real.join("lib/modules").join(&version);
    let to = folder.path().join("lib/modules").join(&version);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = std::process::Command::new("cp").arg("-rs").arg(&from).arg(&to).status().unwrap();
    assert!(copied.success());
    let name = format!("{lacking}.ko");
    let removed = std::process::Command::new("find").arg(&to).args(["-name", &name, "-delete"]).status();
    assert!(removed.unwrap().success());
    folder
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_kernel_without_overlayfs_is_refused_by_name() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let (package, folder) = (without("overlay"), tempfile::tempdir().unwrap());
    let why = setup(&options(package.path(), &folder)).unwrap_err();
    assert!(matches!(&why, SetupError::Lacks { missing, .. } if missing.len() == 1), "{why}");
    assert!(why.to_string().contains("CONFIG_OVERLAY_FS"), "{why}");
    assert!(matches!(Boot::open(&folder.path().join("boot")), Err(BootError::None(_))));
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_module_that_another_one_needs_is_named() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let (package, folder) = (without("failover"), tempfile::tempdir().unwrap());
    let why = setup(&options(package.path(), &folder)).unwrap_err().to_string();
    assert!(why.contains("has no module failover, which its module net_failover needs"), "{why}");
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_kernel_that_is_cut_off_is_refused_and_nothing_is_left() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let (package, folder) = (without("-"), tempfile::tempdir().unwrap());
    let kernel = fs::read_dir(package.path().join("boot")).unwrap().map(|entry| entry.unwrap().path());
    let kernel = kernel.into_iter().find(|path| path.to_string_lossy().contains("vmlinuz")).unwrap();
    let bytes = fs::read(&kernel).unwrap();
    fs::write(&kernel, &bytes[..bytes.len() / 2]).unwrap();
    let why = setup(&options(package.path(), &folder)).unwrap_err().to_string();
    assert!(why.contains("it is cut off"), "{why}");
    fs::write(&kernel, "no kernel at all").unwrap();
    let why = setup(&options(package.path(), &folder)).unwrap_err().to_string();
    assert!(why.contains("cannot be the kernel"), "{why}");
    assert!(!folder.path().join("boot").exists());
}

#[test]
#[ignore = "needs a guest kernel"]
fn a_script_and_a_dynamic_program_are_no_agents() {
    if !vm_testbed::can_run(&[vm_testbed::Need::Guest]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for agent in [Path::new("/bin/sh"), &package().join("boot")] {
        let tried = setup(&SetupOptions { agent: agent.into(), ..options(&package(), &folder) });
        assert!(matches!(tried, Err(SetupError::Agent(_))), "{tried:?}");
    }
    assert!(!folder.path().join("boot").exists());
}

#[test]
fn a_damaged_boot_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Boot::open(folder.path()).unwrap_err().to_string();
    assert!(open().contains("orchestrator microvm setup"));
    fs::write(folder.path().join("current"), "../../etc\n").unwrap();
    assert!(open().contains("is no id"));
    fs::write(folder.path().join("current"), "0123456789abcdef\n").unwrap();
    assert!(open().contains("cannot be used"));
    let place = folder.path().join("0123456789abcdef");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("boot.json"), r#"{"schema": 2, "kernel": "", "format": "vmlinux", "modules": []}"#)
        .unwrap();
    assert!(open().contains("another version"));
}
