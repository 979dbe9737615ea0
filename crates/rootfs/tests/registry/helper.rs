//! Programs that keep the passwords of registries (`docker-credential-*`).

use rootfs::Quiet;
use rootfs::source::registry::{Options, fetch};
use rstest::rstest;

use crate::server;
use crate::support::server::Reply;

/// What the child below fetches; without it, it is no child.
const REFERENCE: &str = "ROOTFS_TEST_REFERENCE";

/// Fetches as a program does whose `PATH` and `DOCKER_CONFIG` its user has set.
#[tokio::test]
async fn child() {
    let Ok(reference) = std::env::var(REFERENCE) else { return };
    let spool = tempfile::tempdir().unwrap();
    let fetched = fetch(&reference, &Options::default(), spool.path(), None, &Quiet).await;
    eprintln!("outcome={}", fetched.map_or_else(|why| why.to_string(), |image| image.id.to_string()));
}

/// The name and password that a program of Docker's keeps, asked for the registry by its name.
#[rstest]
#[case(r#"cat >"$0.asked"; echo '{"Username": "u", "Secret": "geheim"}'"#, None)]
#[case("echo 'credentials not found in native keychain'; exit 1", Some("401"))]
#[case("echo geheim; exit 1", Some("it failed; run it by hand"))]
#[case("echo geheim", Some("its answer is not of the protocol"))]
#[tokio::test]
async fn a_credential_helper_is_asked(
    #[case] helper: &str,
    #[case] trouble: Option<&str>,
    #[values("credsStore", "credHelpers")] way: &str,
) {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, parts) = server(|_, ask| {
        (ask.authorization.as_deref() != Some("Basic dTpnZWhlaW0="))
            .then(|| Reply::status(401).header("www-authenticate", r#"Basic realm="here""#))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("docker-credential-ours");
    std::fs::write(&program, format!("#!/bin/sh\n{helper}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = match way {
        "credsStore" => r#"{"credsStore": "ours"}"#.to_owned(),
        _ => format!(r#"{{"credHelpers": {{"{}": "ours"}}}}"#, server.address),
    };
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["helper::child", "--exact", "--nocapture"]).env(REFERENCE, server.image());
    child.env("DOCKER_CONFIG", folder.path());
    child.env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
    let output = child.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("geheim"), "{text}");
    let outcome = text.lines().find_map(|line| line.strip_prefix("outcome=")).unwrap();
    match trouble {
        Some(trouble) => assert!(outcome.contains(trouble), "{outcome}"),
        None => {
            assert_eq!(outcome, parts.id.to_string());
            let asked = folder.path().join("docker-credential-ours.asked");
            assert_eq!(std::fs::read_to_string(asked).unwrap(), server.address);
        }
    }
}
