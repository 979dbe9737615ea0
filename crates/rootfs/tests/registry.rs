//! Images of a registry that misbehaves: each kind of trouble has its error, and leaves nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "registry/helper.rs"]
mod helper;
mod support;

use std::path::Path;

use rootfs::source::registry::{Options, RegistryError, fetch};
use rootfs::source::{Image, SpoolError, Wrong, host_architecture};
use rootfs::{Digest, Quiet};
use rstest::rstest;
use support::image::{INDEX, Parts, index, parts};
use support::server::{Ask, Reply, Server, honest};
use support::{FillsUp, Heard, held_open, is_empty};
use vm_testbed::{Need, SmallDisk, can_run};

/// A folder of Docker's with the name `u` and the password `geheim` for one registry.
fn docker_config(registry: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths": {{"{registry}": {{"username": "u", "password": "geheim"}}}}}}"#);
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    folder
}

fn options(docker_config: &Path) -> Options {
    Options { docker_config: Some(docker_config.to_owned()), ..Options::default() }
}

/// Fetches without credentials, on a thread of the runtime, and sees that nothing is left when it fails.
async fn fetched(reference: &str) -> Result<Image, RegistryError> {
    let empty = tempfile::tempdir().unwrap();
    with(reference, options(empty.path())).await
}

async fn with(reference: &str, options: Options) -> Result<Image, RegistryError> {
    let spool = tempfile::tempdir().unwrap();
    let (at, reference) = (spool.path().to_owned(), reference.to_owned());
    let task = tokio::spawn(async move { fetch(&reference, &options, &at, None, &Quiet).await });
    let result = task.await.unwrap();
    assert!(is_empty(spool.path()));
    while result.is_err() && held_open(spool.path()) > 0 {
        tokio::task::yield_now().await;
    }
    result
}

fn here() -> Parts {
    parts(host_architecture(), 1)
}

/// A server of an image; `answer` says what is answered in place of the honest answer.
async fn server(answer: impl Fn(&Parts, &Ask) -> Option<Reply> + Send + Sync + 'static) -> (Server, Parts) {
    let parts = here();
    let shared = parts.clone();
    let server = Server::start(move |ask| answer(&shared, ask).unwrap_or_else(|| honest(&shared, ask))).await;
    (server, parts)
}

#[tokio::test]
async fn an_honest_registry_is_asked_once_for_each_blob() {
    let (server, parts) = server(|_, _| None).await;
    let (empty, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let heard = Heard::default();
    let image = fetch(&server.image(), &options(empty.path()), spool.path(), None, &heard).await.unwrap();
    assert_eq!(image.id, parts.id);
    assert_eq!(image.layers(), 2);
    assert!(image.is(&Digest::of(&parts.manifest)));
    rootfs::build::tree(&image, &rootfs::Limits::default()).unwrap();
    let all: usize = parts.blobs.values().map(Vec::len).sum();
    assert_eq!(*heard.0.lock().unwrap(), (Some(all as u64), all as u64));
    assert_eq!(server.asks().len(), 1 + parts.blobs.len());
    assert!(is_empty(spool.path()));
    assert_eq!(held_open(spool.path()), 1);
    drop(image);
    assert_eq!(held_open(spool.path()), 0);
}

#[rstest]
#[case(401)]
#[case(403)]
#[tokio::test]
async fn who_is_refused_is_told_to_log_in(#[case] status: u16) {
    let (server, _) = server(move |_, _| Some(Reply::status(status))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Denied { status: found, known: false, .. } if found == status),
        "{error}"
    );
    assert!(error.to_string().contains("docker login"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (server, _) = server(|_, ask| ask.path.contains("manifests").then(|| Reply::status(404))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::NoSuch(what) if what.contains("some/image: manifests/1")),
        "{error}"
    );
}

#[tokio::test]
async fn a_throttled_request_waits_as_long_as_it_is_asked_to() {
    let (server, parts) =
        server(|_, ask| (ask.before < 2).then(|| Reply::status(429).header("retry-after", "0"))).await;
    assert_eq!(fetched(&server.image()).await.unwrap().id, parts.id);
    assert_eq!(server.asks().len(), 3 * (1 + parts.blobs.len()));
}

#[rstest]
#[case(429, "0", 4)]
#[case(503, "0", 4)]
#[case(429, "86400", 1)]
#[tokio::test]
async fn patience_ends(#[case] status: u16, #[case] after: &'static str, #[case] tries: usize) {
    let (server, _) = server(move |_, _| Some(Reply::status(status).header("retry-after", after))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: found, .. } if found == status), "{error}");
    assert_eq!(server.asks().len(), tries);
}

#[tokio::test]
async fn nobody_there_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fetched(&format!("{address}/a")).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unreachable { registry, .. } if *registry == address.to_string()),
        "{error}"
    );
}

/// Half of the large layer, with the length of the whole.
fn half(parts: &Parts, ask: &Ask) -> Option<Reply> {
    let blob = &parts.blobs[&parts.layer];
    let reply = || Reply { said: Some(blob.len() as u64), ..Reply::body(&blob[..blob.len() / 2]) };
    ask.path.ends_with(&parts.layer).then(reply)
}

#[tokio::test]
async fn a_blob_that_breaks_off_comes_again() {
    let (server, parts) = server(|parts, ask| half(parts, ask).filter(|_| ask.before < 2)).await;
    let image = fetched(&server.image()).await.unwrap();
    rootfs::build::tree(&image, &rootfs::Limits::default()).unwrap();
    assert_eq!(server.count(&parts.layer), 3);
}

#[tokio::test]
async fn a_blob_that_always_breaks_off_is_given_up() {
    let (server, parts) = server(half).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::BrokeOff { digest, .. } if digest.to_string() == parts.layer),
        "{error}"
    );
    assert_eq!(server.count(&parts.layer), 4);
}

#[tokio::test]
async fn another_blob_than_asked_for_is_refused() {
    let (server, parts) = server(|parts, ask| {
        let mut blob = parts.blobs[&parts.layer].clone();
        blob[1000] ^= 1;
        ask.path.ends_with(&parts.layer).then(|| Reply::body(&blob))
    })
    .await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Damaged { expected, .. } if expected.to_string() == parts.layer),
        "{error}"
    );
    assert_eq!(server.count(&parts.layer), 1);
}

#[rstest]
#[case(false)]
#[case(true)]
#[tokio::test]
async fn a_blob_that_is_longer_is_cut_off(#[case] endless: bool) {
    let (server, _) = server(move |parts, ask| {
        let mut body = parts.blobs[&parts.layer].clone();
        body.push(0);
        ask.path.ends_with(&parts.layer).then(|| Reply { endless, ..Reply::body(&body) })
    })
    .await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Longer { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_manifest_is_cut_off() {
    let (server, _) = server(|_, _| Some(Reply { endless: true, ..Reply::body(&vec![b' '; 1 << 16]) })).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Large { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_by_digest_must_have_it() {
    let (server, parts) = server(|_, _| None).await;
    let right = format!("{}/some/image@{}", server.address, Digest::of(&parts.manifest));
    assert_eq!(fetched(&right).await.unwrap().id, parts.id);
    let wrong = format!("{}/some/image@{}", server.address, Digest::of(b"other"));
    let error = fetched(&wrong).await.unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

#[rstest]
#[case("not json", "document")]
#[case(r#"{"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}"#, "kind")]
#[case(
    r#"{"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": "sha256:../x"}}"#,
    "kind"
)]
#[case(
    r#"{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size": 18446744073709551615}}"#,
    "more than"
)]
#[tokio::test]
async fn manifests_that_are_none_are_refused(#[case] text: &'static str, #[case] word: &str) {
    let (server, _) = server(move |_, _| Some(Reply::body(text.as_bytes()))).await;
    let error = fetched(&server.image()).await.unwrap_err().to_string();
    assert!(error.contains(word), "{error}");
}

#[tokio::test]
async fn an_index_without_this_processor_says_what_there_is() {
    let other = parts("riscv64", 2);
    let text = index(&[("riscv64", &other), ("s390x", &other)]);
    let (server, _) =
        server(move |_, ask| ask.path.contains("manifests/1").then(|| Reply::body(&text))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    let RegistryError::Image(Wrong::NoSuch { there, .. }) = &error else { panic!("{error}") };
    assert_eq!(there, "linux/riscv64, linux/s390x");
}

#[rstest]
#[case::of_this_host(None, true)]
#[case::of_another(Some("riscv64"), false)]
#[tokio::test]
async fn an_index_gives_the_image_for_the_processor(#[case] asked: Option<&str>, #[case] is_ours: bool) {
    let (ours, other) = (here(), parts("riscv64", 2));
    let text = index(&[("riscv64", &other), (host_architecture(), &ours)]);
    let expected = if is_ours { ours.id } else { other.id };
    let server = Server::start(move |ask| {
        let of = |parts: &Parts| ask.path.ends_with(&Digest::of(&parts.manifest).to_string());
        if ask.path.ends_with("/manifests/1") {
            Reply::body(&text).header("content-type", INDEX)
        } else if of(&other) || other.blobs.keys().any(|digest| ask.path.ends_with(digest)) {
            honest(&other, ask)
        } else {
            honest(&ours, ask)
        }
    })
    .await;
    let (empty, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = fetch(&server.image(), &options(empty.path()), spool.path(), asked, &Quiet).await.unwrap();
    assert_eq!(image.id, expected);
}

#[tokio::test]
async fn a_single_image_of_another_processor_than_asked_is_refused() {
    let (server, _) = server(|_, _| None).await;
    let (empty, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let result = fetch(&server.image(), &options(empty.path()), spool.path(), Some("riscv64"), &Quiet).await;
    assert!(matches!(result, Err(RegistryError::Architecture { .. })));
}

/// A registry that wants a token, which another server gives to who has the password; blobs are on a third.
#[tokio::test]
async fn secrets_go_where_they_belong_and_nowhere_else() {
    let parts = here();
    let store = {
        let parts = parts.clone();
        Server::start(move |ask| honest(&parts, ask)).await
    };
    let tokens = Server::start(|ask| {
        let known = ask.authorization.as_deref() == Some("Basic dTpnZWhlaW0=");
        assert!(ask.path.contains("service=reg") && ask.path.contains("some%2Fimage%3Apull"), "{}", ask.path);
        if known { Reply::body(br#"{"token": "tok"}"#) } else { Reply::status(401) }
    })
    .await;
    let challenge = format!(r#"Bearer realm="http://{}/t",service="reg",scope="x""#, tokens.address);
    let (at, blobs) = (store.address.clone(), parts.clone());
    let registry = Server::start(move |ask| {
        if ask.authorization.as_deref() != Some("Bearer tok") {
            return Reply::status(401).header("www-authenticate", challenge.clone());
        }
        if ask.path.contains("/blobs/") {
            return Reply::status(307)
                .header("location", format!("http://{at}{}?signature=geheim", ask.path));
        }
        honest(&blobs, ask)
    })
    .await;
    let config = docker_config(&registry.address);
    // The third server is asked with a query, which the honest answer does not know.
    let error = with(&registry.image(), options(config.path())).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    assert!(store.count("/blobs/") > 0);
    assert!(store.asks().iter().all(|ask| ask.authorization.is_none()), "{:?}", store.asks());
    assert_eq!(tokens.count("/t"), 1);
    // And without a password.
    let error = fetched(&registry.image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { known: false, .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let parts = here();
    let shared = parts.clone();
    let store = Server::start(move |ask| honest(&shared, ask)).await;
    let at = store.address.clone();
    let (server, _) = server(move |_, ask| {
        let reply = || Reply::status(307).header("location", format!("http://{at}{}", ask.path));
        ask.path.contains("/blobs/").then(reply)
    })
    .await;
    assert_eq!(fetched(&server.image()).await.unwrap().id, parts.id);
    assert_eq!(store.count("/blobs/"), parts.blobs.len());
}

#[rstest]
#[case("http://192.0.2.1/x")]
#[case("file:///etc/passwd")]
#[tokio::test]
async fn a_redirect_to_where_nobody_should_go_is_not_followed(#[case] to: &'static str) {
    let (server, _) = server(move |_, _| Some(Reply::status(307).header("location", to))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    // What is no address of HTTP at all stays the answer that it was.
    let refused =
        matches!(error, RegistryError::Unreachable { .. } | RegistryError::Status { status: 307, .. });
    assert!(refused, "{error}");
    assert_eq!(server.asks().len(), 1);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let (server, _) = server(|_, ask| Some(Reply::status(307).header("location", ask.path.clone()))).await;
    let error = fetched(&server.image()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_disk_without_room_is_told_before_a_layer_is_fetched() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let folder = SmallDisk::new(64).unwrap();
    let (server, parts) = server(|_, _| None).await;
    let empty = tempfile::tempdir().unwrap();
    let error =
        fetch(&server.image(), &options(empty.path()), folder.path(), None, &Quiet).await.unwrap_err();
    let RegistryError::Spool(SpoolError::NoRoom(room)) = &error else { panic!("{error}") };
    let needed: usize = parts.blobs.values().map(Vec::len).sum();
    assert_eq!((room.folder.as_path(), room.needed), (folder.path(), needed as u64));
    assert!(room.free <= 64 << 10, "{room}");
    assert!(server.asks().iter().all(|ask| !ask.path.contains("/blobs/")), "nothing of it was asked for");
    assert!(is_empty(folder.path()));
}

#[tokio::test]
async fn a_disk_that_fills_up_is_told() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let folder = SmallDisk::new(1024).unwrap();
    let (server, _) = server(|_, _| None).await;
    let empty = tempfile::tempdir().unwrap();
    let filling = FillsUp(folder.path().to_owned());
    let error =
        fetch(&server.image(), &options(empty.path()), folder.path(), None, &filling).await.unwrap_err();
    assert!(matches!(error, RegistryError::Spool(SpoolError::Full { .. })), "{error}");
    std::fs::remove_file(filling.file()).unwrap();
    assert!(is_empty(folder.path()));
    assert_eq!(held_open(folder.path()), 0);
}
