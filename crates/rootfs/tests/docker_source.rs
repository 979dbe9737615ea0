//! Images straight from the engine: the same as in the file that it saves, and nothing left whatever happens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use rootfs::Quiet;
use rootfs::source::engine::{EngineError, fetch};
use rootfs::source::{Choice, Image, SpoolError, host_architecture};
use support::{FillsUp, Heard, built, docker, held_open, is_empty, saved};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use vm_testbed::{Need, SmallDisk, can_run};

const IMAGE: &str = "clarateach-testbed:latest";
/// How the engine is reached.
const SOCKET: &str = "/var/run/docker.sock";

fn engine(socket: &Path) -> Docker {
    Docker::connect_with_unix(socket.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap()
}

/// What a proxy does after so many bytes from the engine.
#[derive(Clone, Copy)]
enum Then {
    Closes,
    Hangs,
}

/// A wire to the engine that lets so many bytes of each connection through.
fn wire(folder: &Path, most: usize, then: Then) -> PathBuf {
    let socket = folder.join("wire.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut ask, mut answer) = client.into_split();
                let (mut from, mut to) = UnixStream::connect(SOCKET).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut ask, &mut to).await });
                let mut left = most;
                let mut buffer = vec![0; 16 * 1024];
                while left > 0 {
                    let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
                    let passed = read.min(left);
                    if answer.write_all(&buffer[..passed]).await.is_err() {
                        return;
                    }
                    left -= passed;
                }
                match then {
                    Then::Closes => {}
                    Then::Hangs => std::future::pending().await,
                }
            });
        }
    });
    socket
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn by_name_and_by_id_it_is_what_the_engine_saves() {
    let folder = tempfile::tempdir().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let saved = Image::open(&saved(IMAGE, folder.path()), &Choice::default()).unwrap();
    let expected = built(&saved);
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    let short = id.strip_prefix("sha256:").unwrap().get(..12).unwrap();
    for reference in [IMAGE, "clarateach-testbed", &id, short] {
        let heard = Heard::default();
        let fetched =
            fetch(&engine(Path::new(SOCKET)), reference, spool.path(), Some(host_architecture()), &heard)
                .await
                .unwrap();
        assert_eq!(fetched.id, saved.id, "{reference}");
        assert!(fetched.is(&id.parse().unwrap()), "{reference}");
        assert_eq!(fetched.config_text, saved.config_text);
        assert_eq!(built(&fetched), expected, "{reference}");
        let (total, advanced) = *heard.0.lock().unwrap();
        assert!(total.is_some_and(|total| total > 0) && advanced > 0, "{total:?} {advanced}");
        assert!(is_empty(spool.path()));
        assert_eq!(held_open(spool.path()), 1);
        drop(fetched);
        assert_eq!(held_open(spool.path()), 0);
    }
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn an_image_that_is_not_there_is_told_with_what_to_do() {
    let spool = tempfile::tempdir().unwrap();
    let docker = engine(Path::new(SOCKET));
    let error = fetch(&docker, "sources-none:1", spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(&error, EngineError::NoSuch(name) if name == "sources-none:1"), "{error}");
    assert!(error.to_string().contains("docker pull"), "{error}");
    for reference in ["", "../containers", "a?b=c", "a b", "/json", "a//b"] {
        let error = fetch(&docker, reference, spool.path(), None, &Quiet).await.unwrap_err();
        assert!(matches!(error, EngineError::Reference(_)), "{reference}: {error}");
    }
    assert!(is_empty(spool.path()));
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn an_image_of_another_processor_is_refused_before_it_comes() {
    let spool = tempfile::tempdir().unwrap();
    let error =
        fetch(&engine(Path::new(SOCKET)), IMAGE, spool.path(), Some("riscv64"), &Quiet).await.unwrap_err();
    let EngineError::Architecture { wanted, found } = &error else { panic!("{error}") };
    assert_eq!((wanted.as_str(), found.as_str()), ("riscv64", host_architecture()));
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn no_engine_is_told() {
    let spool = tempfile::tempdir().unwrap();
    // Somebody listened there, and is gone.
    let socket = spool.path().join("none.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = fetch(&engine(&socket), IMAGE, spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable(_)), "{error}");
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn an_engine_that_goes_away_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let docker = engine(&wire(folder.path(), 200_000, Then::Closes));
    let error = fetch(&docker, IMAGE, spool.path(), None, &Quiet).await.unwrap_err();
    assert!(matches!(error, EngineError::BrokeOff { bytes: 1.., .. }), "{error}");
    settled(spool.path()).await;
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn who_gives_up_in_the_middle_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = tempfile::tempdir().unwrap();
    let docker = engine(&wire(folder.path(), 200_000, Then::Hangs));
    let at = spool.path().to_owned();
    let task = tokio::spawn(async move { fetch(&docker, IMAGE, &at, None, &Quiet).await });
    while held_open(spool.path()) == 0 {
        assert!(!task.is_finished(), "it ended before it was given up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    settled(spool.path()).await;
}

/// Waits until nothing is held in a folder, which has no names in any case.
async fn settled(folder: &Path) {
    assert!(is_empty(folder));
    while held_open(folder) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn a_disk_without_room_is_told_before_anything_is_fetched() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let folder = SmallDisk::new(64).unwrap();
    let begun = FillsUp(folder.path().to_owned());
    let error = fetch(&engine(Path::new(SOCKET)), IMAGE, folder.path(), None, &begun).await.unwrap_err();
    let size: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().unwrap();
    match &error {
        EngineError::Spool(SpoolError::NoRoom(room)) => {
            assert_eq!((room.folder.as_path(), room.needed), (folder.path(), size));
            assert!(!begun.file().exists(), "it was begun");
        }
        error => panic!("{error}"),
    }
    settled(folder.path()).await;
}

#[tokio::test]
#[ignore = "docker tier: needs a Docker engine"]
async fn a_disk_that_fills_up_is_told_and_leaves_nothing() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let size: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().unwrap();
    let kilobytes = u32::try_from(size / 1024 + 64).unwrap();
    let folder = SmallDisk::new(kilobytes).unwrap();
    let filling = FillsUp(folder.path().to_owned());
    let error = fetch(&engine(Path::new(SOCKET)), IMAGE, folder.path(), None, &filling).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Spool(SpoolError::Full { folder: at }) if at == folder.path()),
        "{error}"
    );
    std::fs::remove_file(filling.file()).unwrap();
    settled(folder.path()).await;
}
