//! Archives into and out of a seat.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use guest_protocol::client::{Agent, ClientError};
use guest_protocol::{FilesQuery, GuestPath, Owner, Problem, ProblemCode};

use super::agent::{Served, within};

fn path(path: &Path) -> GuestPath {
    path.to_str().unwrap().parse().unwrap()
}

async fn down(agent: &Agent, from: &Path) -> Result<Vec<u8>, ClientError> {
    let mut download = agent.files_down(&path(from)).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = within(download.next()).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn up(agent: &Agent, to: &Path, archive: Vec<u8>) -> Result<(), Problem> {
    let query = FilesQuery { path: path(to), owner: Owner::Archive };
    // In pieces of odd sizes.
    let pieces: Vec<_> = archive.chunks(777).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    match within(agent.files_up(&query, stream::iter(pieces))).await {
        Ok(()) => Ok(()),
        Err(ClientError::Refused { problem, .. }) => Err(problem),
        Err(other) => panic!("{other}"),
    }
}

/// An archive of these entries, whatever they say.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        header.set_mtime(1_000_000);
        // Past the checks of the crate, which would not write such names.
        let name = name.as_bytes();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, &b""[..]).unwrap();
        } else {
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const FOLDER: tar::EntryType = tar::EntryType::Directory;
const LINK: tar::EntryType = tar::EntryType::Symlink;
const NAME: tar::EntryType = tar::EntryType::Link;

#[tokio::test]
async fn a_folder_comes_out_and_goes_in_as_it_was() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let (from, to) = (served.folder.path().join("from"), served.folder.path().join("to"));
    fs::create_dir_all(from.join("sub/empty")).unwrap();
    fs::create_dir(&to).unwrap();
    let long = "long name ".repeat(15);
    let content: Vec<u8> = (0..300_000_u32).map(|number| (number * 7) as u8).collect();
    fs::write(from.join("sub").join(&long), &content).unwrap();
    fs::write(from.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(from.join("tool"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("/nowhere/at/all", from.join("link")).unwrap();
    let archive = within(down(&agent, &from)).await.unwrap();
    up(&agent, &to, archive).await.unwrap();
    let to = to.join("from");
    assert!(fs::read(to.join("sub").join(&long)).unwrap() == content);
    assert_eq!(fs::metadata(to.join("tool")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(
        fs::metadata(to.join("tool")).unwrap().mtime(),
        fs::metadata(from.join("tool")).unwrap().mtime()
    );
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere/at/all"));
    assert!(to.join("sub/empty").is_dir());

    // A single file, and an archive that is empty.
    let single = down(&agent, &from.join("tool")).await.unwrap();
    up(&agent, &served.folder.path().join("to"), single).await.unwrap();
    assert!(served.folder.path().join("to/tool").is_file());
    up(&agent, &served.folder.path().join("to"), Vec::new()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_made_up_is_refused() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let refused = async |from: &Path| match down(&agent, from).await {
        Err(ClientError::Refused { problem, .. }) => problem.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&served.folder.path().join("none")).await, ProblemCode::NotFound);
    assert_eq!(refused(Path::new("/proc/self")).await, ProblemCode::Invalid);
    assert_eq!(refused(Path::new("/proc/1/root/etc")).await, ProblemCode::Failed, "a magic link");
    assert_eq!(refused(&served.socket()).await, ProblemCode::Invalid, "a socket");
    let problem = up(&agent, Path::new("/proc"), Vec::new()).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::Invalid);
    let problem = up(&agent, &served.folder.path().join("none"), Vec::new()).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::NotFound);
}

#[tokio::test]
async fn nothing_is_unpacked_outside_of_the_folder() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let (to, outside) = (served.folder.path().join("to"), served.folder.path().join("outside"));
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    symlink(&outside, to.join("there")).unwrap();
    symlink("../outside", to.join("near")).unwrap();
    let outside_name = format!("{}/kept", outside.display());
    for entries in [
        vec![("../outside/new", FILE, "x")],
        vec![("a/../../outside/new", FILE, "x")],
        vec![("there/new", FILE, "x")],
        vec![("near/kept", FILE, "x")],
        vec![("near/new", FOLDER, "")],
        vec![("evil", LINK, "../outside"), ("evil/new", FILE, "x")],
        vec![("name", NAME, "../outside/kept")],
        vec![("name", NAME, "there/kept")],
        vec![("device", tar::EntryType::Char, "")],
    ] {
        let problem = up(&agent, &to, archive(&entries)).await.unwrap_err();
        assert_eq!(problem.code, ProblemCode::Invalid, "{entries:?}: {problem}");
    }
    // A hard link by an absolute name is one below the folder, where there is none.
    assert!(up(&agent, &to, archive(&[("name", NAME, &outside_name)])).await.is_err());
    // What replaces a link does not go through it; absolute names are below the folder.
    up(&agent, &to, archive(&[("there", FILE, "mine"), ("/etc/x", FILE, "y")])).await.unwrap();
    assert_eq!(fs::read_to_string(to.join("there")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(to.join("etc/x")).unwrap(), "y");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["kept"]);
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    let left: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("clarateach")), "{left:?}");
}

#[tokio::test]
async fn links_below_the_folder_are_followed_and_names_shared() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let to = served.folder.path().join("to");
    fs::create_dir_all(to.join("real")).unwrap();
    symlink("real", to.join("lib")).unwrap();
    up(&agent, &to, archive(&[("lib/a", FILE, "x"), ("b", NAME, "lib/a"), ("lib/deep/c", FILE, "z")]))
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(to.join("real/a")).unwrap(), "x");
    assert_eq!(fs::metadata(to.join("b")).unwrap().ino(), fs::metadata(to.join("real/a")).unwrap().ino());
    assert_eq!(fs::read_to_string(to.join("real/deep/c")).unwrap(), "z");
    assert!(fs::symlink_metadata(to.join("lib")).unwrap().is_symlink());
}

#[tokio::test]
async fn an_archive_that_ends_early_leaves_whole_files() {
    let (served, agent) = Served::with("exec sleep 1000").await;
    let to = served.folder.path().join("to");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("big"), "as it was").unwrap();
    let mut bytes = archive(&[("small", FILE, "small"), ("big", FILE, &"x".repeat(100_000))]);
    bytes.truncate(50_000);
    let problem = up(&agent, &to, bytes.clone()).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::Invalid, "{problem}");
    assert!(problem.message.contains("big"), "{problem}");
    assert_eq!(fs::read_to_string(to.join("small")).unwrap(), "small");
    assert_eq!(fs::read_to_string(to.join("big")).unwrap(), "as it was");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
    let problem = up(&agent, &to, b"this is no archive, whatever else it is ".repeat(50)).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::Invalid, "{problem}");

    // A host that goes away in the middle.
    let query = FilesQuery { path: path(&to), owner: Owner::Archive };
    let pieces = stream::iter([Ok(Bytes::from(bytes)), Err(std::io::Error::other("gone"))]);
    assert!(within(agent.files_up(&query, pieces)).await.is_err());
    within(async {
        while fs::read_dir(&to).unwrap().count() != 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(fs::read_to_string(to.join("big")).unwrap(), "as it was");
}

#[tokio::test]
async fn a_download_that_nobody_wants_ends() {
    let (_served, agent) = Served::with("exec sleep 1000").await;
    // More than the places that there are for archives.
    for _ in 0..8 {
        let mut download = within(async {
            loop {
                match agent.files_down(&"/usr".parse().unwrap()).await {
                    Ok(download) => return download,
                    Err(ClientError::Refused { problem, .. }) if problem.code == ProblemCode::Busy => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        })
        .await;
        assert!(within(download.next()).await.unwrap().is_some());
    }
}
