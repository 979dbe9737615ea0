//! Jails in temporary folders. What the real jailer makes of them is tried in the tests of the target `fc_jail`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use vm_testbed::{Need, can_run, skip};

use super::*;
use crate::vmm::UserIds;

const USER: UserIds = UserIds { uid: 64_321, gid: 64_322 };

/// A seat's folder, with an image beside it that others read too.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("seat")).unwrap();
        for (name, text) in [("rootfs.ext4", "image"), ("kernel", "kernel"), ("seat/data.img", "data")] {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn base(&self) -> PathBuf {
        self.at("seat/jail")
    }

    /// A jail with a file that it shares.
    fn spec(&self) -> JailSpec {
        JailSpec {
            base: self.base(),
            id: JailId::new("demo-3").unwrap(),
            firecracker: "/opt/firecracker-v1.16.1".into(),
            user: USER,
            largest_file: 1 << 30,
            files: vec![file(self.at("rootfs.ext4"), "root.img", Access::Shared)],
        }
    }

    /// And with a disk of its own, which takes root to make.
    fn with_disk(&self) -> JailSpec {
        let mut spec = self.spec();
        spec.files.push(file(self.at("seat/data.img"), "data.img", Access::Own));
        spec
    }
}

fn file(source: impl Into<PathBuf>, name: &str, access: Access) -> JailFile {
    JailFile { source: source.into(), name: FileName::new(name).unwrap(), access }
}

fn said(spec: &JailSpec) -> String {
    let said = stage(spec).unwrap_err().to_string();
    assert!(!spec.base.exists(), "something is left after: {said}");
    said
}

#[test]
fn the_jailer_is_told_all_of_it() {
    let ground = Ground::new();
    let spec = ground.spec();
    let base = ground.base().display().to_string();
    let line = |spec: &JailSpec, more: &[&str]| spec.arguments(more).unwrap().join(" ");
    assert_eq!(
        line(&spec, &[]),
        format!(
            "--id demo-3 --exec-file /opt/firecracker-v1.16.1 --uid 64321 --gid 64322 --chroot-base-dir {base} \
             --resource-limit no-file=1024 --resource-limit fsize=1073741824"
        )
    );
    assert_eq!(spec.root(), ground.at("seat/jail/firecracker-v1.16.1/demo-3/root"));
    assert_eq!(spec.place(), Path::new("jail/firecracker-v1.16.1/demo-3/root"));
    let line = line(&spec, &["--api-sock", "/api.sock"]);
    assert!(line.ends_with(" -- --api-sock /api.sock"), "{line}");
    for ours in ["cgroup", "netns", "pid-ns"] {
        assert!(!line.contains(ours), "{line}");
    }
}

#[test]
fn what_cannot_be_is_said_before_anything_is_made() {
    use std::os::unix::ffi::OsStringExt as _;
    let ground = Ground::new();
    let spec = || ground.spec();
    let root = JailSpec { user: UserIds { uid: 0, gid: 5 }, ..spec() };
    assert!(said(&root).starts_with("a jailed monitor is not root"));
    let bytes = std::ffi::OsString::from_vec(b"/\xff/firecracker".to_vec());
    assert!(said(&JailSpec { firecracker: bytes.into(), ..spec() }).contains("no path that is not UTF-8"));
    assert!(said(&JailSpec { firecracker: "firecracker".into(), ..spec() }).contains("not absolute"));
    assert!(said(&JailSpec { base: "jail".into(), ..spec() }).contains("not absolute"));
    for name in ["root.img", "dev", "run", "firecracker-v1.16.1", "firecracker-v1.16.1.pid"] {
        let mut spec = spec();
        spec.files.push(file(ground.at("kernel"), name, Access::Shared));
        assert!(said(&spec).contains("the same name"), "{name}");
        assert!(spec.arguments(&[]).is_err(), "{name}");
    }
    for name in ["", ".", "..", ".x", "a/b", "a b", &"a".repeat(65)] {
        assert_eq!((FileName::new(name), JailId::new(name)), (None, None), "{name}");
    }
    assert!(JailId::new("a_b").is_none() && FileName::new("a_b.img").is_some());
}

#[test]
fn a_shared_file_keeps_its_owner_and_becomes_readable() {
    let ground = Ground::new();
    stage(&ground.spec()).unwrap();
    let (there, here) = (ground.at("rootfs.ext4"), ground.spec().root().join("root.img"));
    let (there, here) = (fs::metadata(there).unwrap(), fs::metadata(here).unwrap());
    assert_eq!((there.dev(), there.ino()), (here.dev(), here.ino()));
    assert_eq!(here.uid(), fs::metadata(ground.at("kernel")).unwrap().uid());
    assert_eq!(here.mode() & 0o777, 0o644);
    for folder in ground.spec().folders() {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
    remove(&ground.base()).unwrap();
    assert!(!ground.base().exists());
    assert_eq!(fs::read_to_string(ground.at("rootfs.ext4")).unwrap(), "image");
    remove(&ground.base()).unwrap();
}

#[test]
fn a_file_that_a_monitor_could_change_for_others_is_not_shared() {
    let ground = Ground::new();
    fs::set_permissions(ground.at("rootfs.ext4"), fs::Permissions::from_mode(0o666)).unwrap();
    let why = said(&ground.spec());
    assert!(why.contains("rootfs.ext4 is shared by VMs, and could be written"), "{why}");
    fs::set_permissions(ground.at("rootfs.ext4"), fs::Permissions::from_mode(0o444)).unwrap();
    let owner = fs::metadata(ground.at("rootfs.ext4")).unwrap().uid();
    if owner != 0 {
        let why = said(&JailSpec { user: UserIds { uid: owner, gid: 1 }, ..ground.spec() });
        assert!(why.contains("could be written"), "{why}");
    }
    let mut spec = ground.spec();
    spec.files[0].source = ground.at("seat");
    assert!(said(&spec).ends_with("seat is no regular file"));
    spec.files[0].source = ground.at("nothing");
    let why = said(&spec);
    assert!(why.starts_with("opening ") && why.contains("nothing: No such file"), "{why}");
}

#[test]
fn a_seats_own_disk_is_its_monitors() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let ground = Ground::new();
    // Again, when it is another's already, who gave it more names.
    for _ in 0..2 {
        stage(&ground.with_disk()).unwrap();
        let disk = fs::metadata(ground.spec().root().join("data.img")).unwrap();
        assert_eq!((disk.uid(), disk.gid(), disk.mode() & 0o777), (USER.uid, USER.gid, 0o600));
        assert_eq!(disk.ino(), fs::metadata(ground.at("seat/data.img")).unwrap().ino());
        fs::hard_link(ground.spec().root().join("data.img"), ground.spec().root().join("more.img")).unwrap();
    }
    remove(&ground.base()).unwrap();
    assert_eq!(fs::read_to_string(ground.at("seat/data.img")).unwrap(), "data");
}

#[test]
fn only_a_disk_that_is_the_seats_alone_is_given_away() {
    let ground = Ground::new();
    let owner = |name: &str| fs::metadata(ground.at(name)).unwrap().uid();
    let before = owner("seat/data.img");
    fs::hard_link(ground.at("seat/data.img"), ground.at("backup.img")).unwrap();
    let why = said(&ground.with_disk());
    assert!(why.contains("data.img has 2 names, and a seat's own disk has one"), "{why}");
    fs::remove_file(ground.at("seat/data.img")).unwrap();
    symlink(ground.at("backup.img"), ground.at("seat/data.img")).unwrap();
    let why = said(&ground.with_disk());
    assert!(why.starts_with("opening "), "{why}");
    fs::rename(ground.at("backup.img"), ground.at("seat/data.img")).unwrap();
    let why = said(&JailSpec { largest_file: 3, ..ground.with_disk() });
    assert!(why.ends_with("data.img has 4 bytes, and a file of the monitor may have 3"), "{why}");
    assert_eq!(owner("seat/data.img"), before);
}

#[test]
fn another_file_system_is_told_with_what_to_do() {
    let ground = Ground::new();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return skip("no /dev/shm to write in") };
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(ground.folder.path()).unwrap().dev() {
        return skip("/dev/shm is on the same file system as temporary folders");
    }
    let image = other.path().join("rootfs.ext4");
    fs::write(&image, "image").unwrap();
    let mut spec = ground.spec();
    spec.files[0].source = image.clone();
    let why = said(&spec);
    assert!(why.starts_with(&format!("{} is on another file system than ", image.display())), "{why}");
    assert!(why.ends_with("keep images, kernels and seats on one, all below state_dir"), "{why}");
}

#[test]
fn a_program_for_which_there_is_no_room_is_told_before_it_is_copied() {
    let ground = Ground::new();
    let program = ground.at("firecracker");
    // Of holes alone.
    fs::File::create(&program).unwrap().set_len(1 << 43).unwrap();
    let why = said(&JailSpec { firecracker: program, ..ground.spec() });
    assert!(why.starts_with(&format!("the file system of {} has ", ground.base().display())), "{why}");
    let wanted =
        " KiB left, and a jail takes 8589934592 KiB: free some there, or put state_dir on a larger one";
    assert!(why.ends_with(wanted), "{why}");
    assert!(!ground.base().exists());
}

/// What a kill leaves: each state between nothing and a whole jail, and those of a removal.
#[test]
fn a_jail_that_was_half_made_or_half_removed_is_made_and_removed() {
    let ground = Ground::new();
    let whole = |spec: &JailSpec| {
        stage(spec).unwrap();
        assert_eq!(fs::read_to_string(spec.root().join("root.img")).unwrap(), "image");
        assert_eq!(fs::read_dir(spec.root()).unwrap().count(), 1);
    };
    let spec = ground.spec();
    let folders = spec.folders();
    for made in 0..=folders.len() {
        for again in [true, false] {
            folders[..made].iter().for_each(|folder| fs::create_dir(folder).unwrap());
            if made == folders.len() {
                fs::hard_link(ground.at("rootfs.ext4"), spec.root().join("root.img")).unwrap();
                drop(UnixListener::bind(spec.root().join("api.sock")).unwrap());
            }
            if made > 0 {
                // Moved up by a removal that was killed; the names are those that the next one begins with.
                fs::create_dir_all(ground.base().join("lifted-1/x/y")).unwrap();
                fs::write(ground.base().join("lifted-2"), "").unwrap();
            }
            if again {
                whole(&spec);
            }
            remove(&ground.base()).unwrap();
            assert!(!ground.base().exists(), "{made}");
        }
    }
    // By a monitor whose program was called otherwise.
    whole(&JailSpec { firecracker: "/opt/firecracker-v1.17.0".into(), ..ground.spec() });
    whole(&spec);
    assert_eq!(fs::read_dir(ground.base()).unwrap().count(), 1);
}

#[test]
fn what_a_hostile_monitor_left_leads_nowhere() {
    let ground = Ground::new();
    let outside = ground.at("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    let spec = ground.spec();
    stage(&spec).unwrap();
    let root = spec.root();
    symlink(&outside, root.join("dev")).unwrap();
    symlink(outside.join("precious"), root.join("api.sock")).unwrap();
    symlink("/", root.join("run")).unwrap();
    fs::create_dir(root.join("deep")).unwrap();
    symlink("../../../../../outside", root.join("deep/up")).unwrap();
    drop(UnixListener::bind(root.join("v.sock")).unwrap());
    fs::create_dir(root.join("closed")).unwrap();
    fs::write(root.join("closed/file"), "").unwrap();
    // Deeper than a process may have open files, and than a path may be long.
    let mut folder = openat(CWD, root.join("deep"), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        mkdirat(&folder, "another_level", Mode::RWXU).unwrap();
        folder = openat(&folder, "another_level", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    remove(&ground.base()).unwrap();
    assert!(!ground.base().exists());
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");

    // A link in the place of the jail, and of folders in it.
    symlink(&outside, ground.base()).unwrap();
    stage(&spec).unwrap();
    assert!(fs::symlink_metadata(ground.base()).unwrap().is_dir());
    for folder in &spec.folders()[1..] {
        remove(&ground.base()).unwrap();
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        symlink(&outside, folder).unwrap();
        stage(&spec).unwrap();
    }
    let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["precious"]);
}

#[tokio::test]
async fn sockets_are_reached_and_links_are_not_followed() {
    let ground = Ground::new();
    // Longer than an address.
    let root = ground.at(&["long"; 30].join("/"));
    fs::create_dir_all(&root).unwrap();
    let api = "api.sock";
    let kind = |name: &str| connect(&root, name).map(drop).unwrap_err().kind();
    assert_eq!(kind(api), std::io::ErrorKind::NotFound);

    let outside = UnixListener::bind(ground.at("outside.sock")).unwrap();
    outside.set_nonblocking(true).unwrap();
    symlink(ground.at("outside.sock"), root.join("api.sock")).unwrap();
    assert_eq!(kind(api), std::io::ErrorKind::InvalidData);
    assert_eq!(outside.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came");
    fs::remove_file(root.join("api.sock")).unwrap();
    fs::write(root.join("api.sock"), "").unwrap();
    assert_eq!(kind(api), std::io::ErrorKind::InvalidData);
    fs::remove_file(root.join("api.sock")).unwrap();

    fs::rename(ground.at("outside.sock"), root.join("api.sock")).unwrap();
    connect(&root, api).unwrap();
    outside.accept().unwrap();
    drop(outside);
    assert_eq!(kind(api), std::io::ErrorKind::ConnectionRefused);
    // Not the folder by a link either.
    symlink(&root, ground.at("link")).unwrap();
    assert!(connect(&ground.at("link"), api).is_err());
    assert!(connect(Path::new("/nothing"), api).is_err());
}

/// By itself: starts this test again in a mount namespace, with something mounted in the jail. With the variable: the one in there.
#[test]
fn what_is_mounted_in_a_jail_is_not_emptied() {
    const FOLDER: &str = "JAIL_TEST_FOLDER";
    const NAME: &str = "vmm::jail::tests::what_is_mounted_in_a_jail_is_not_emptied";
    if let Some(base) = std::env::var_os(FOLDER) {
        let why = remove(Path::new(&base)).unwrap_err().to_string();
        assert!(why.contains("something is mounted there, which is to be unmounted"), "{why}");
        return;
    }
    if !can_run(&[Need::Root]) {
        return;
    }
    let ground = Ground::new();
    fs::create_dir(ground.at("outside")).unwrap();
    fs::write(ground.at("outside/precious"), "precious").unwrap();
    let spec = ground.spec();
    for folder in &spec.folders()[1..] {
        stage(&spec).unwrap();
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-ec", "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"", "sh"])
            .args([&ground.at("outside"), folder])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(FOLDER, ground.base())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        assert_eq!(fs::read_to_string(ground.at("outside/precious")).unwrap(), "precious");
        remove(&ground.base()).unwrap();
    }
}
