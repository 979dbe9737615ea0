//! Credentials as `docker login` keeps them: in Docker's own configuration file, or with a helper that it names.
//!
//! Source: the reference of `docker login`, sections "Credential stores" and "Credential helpers", and the protocol of
//! `docker-credential-helpers`: the server's name on standard input, `{"Username", "Secret"}` on standard output.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MOST_FILE: u64 = 1 << 20;
const MOST_ANSWER: u64 = 64 * 1024;
/// A helper may ask a key ring, but nobody is there to be asked.
const HELPER_TIME: Duration = Duration::from_secs(20);
/// What a helper answers for an identity token instead of a name.
const IDENTITY: &str = "<token>";

/// How to prove who asks. Its parts that are secret are in no text of it.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    Basic {
        user: String,
        password: SecretString,
    },
    /// Becomes a token of the registry.
    Identity(SecretString),
    /// Is one.
    Token(SecretString),
}

/// Why there are no credentials to be had. Nothing of the file's content or the helper's answer is in it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file is there and cannot be read.
    #[error("cannot read {}: {why}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// It is no configuration of Docker.
    #[error("{} is no configuration of Docker (line {line}); `docker login` writes one", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it stops being one; 0 where an entry of it is wrong.
        line: usize,
    },
    /// The helper cannot be run, or fails.
    #[error("the credential helper docker-credential-{name}: {why}")]
    Helper {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The folder of Docker's configuration, as its client finds it.
pub(super) fn default_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// What the configuration in `folder` has for a registry, if anything.
pub(super) async fn find(folder: &Path, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let path = folder.join("config.json");
    let Some(config) = read(&path)? else { return Ok(None) };
    let own = config.cred_helpers.as_ref().and_then(|helpers| helpers.get(registry));
    if let Some(helper) = own.or(config.creds_store.as_ref()).filter(|name| !name.is_empty())
        && let Some(found) = ask(helper, registry).await?
    {
        return Ok(Some(found));
    }
    let auths = config.auths.unwrap_or_default();
    let mut entries = auths.into_iter();
    let Some((_, entry)) = entries.find(|(key, _)| key == registry || host(key) == host(registry)) else {
        return Ok(None);
    };
    entry.credentials().map_err(|()| CredentialsError::Malformed { path, line: 0 })
}

/// Keys may be addresses: `https://a.b/v1/` is `a.b`.
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

fn read(path: &Path) -> Result<Option<Config>, CredentialsError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(CredentialsError::Read { path: path.into(), why }),
    };
    let mut text = Vec::new();
    let done = file.take(MOST_FILE).read_to_end(&mut text);
    done.map_err(|why| CredentialsError::Read { path: path.into(), why })?;
    // The error of the parser may have parts of the text in it.
    let malformed =
        |error: serde_json::Error| CredentialsError::Malformed { path: path.into(), line: error.line() };
    serde_json::from_slice(&text).map(Some).map_err(malformed)
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, ()> {
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = set(self.registrytoken) {
            return Ok(Some(Credentials::Token(token.into())));
        }
        if let Some(token) = set(self.identitytoken) {
            return Ok(Some(Credentials::Identity(token.into())));
        }
        if let Some(auth) = set(self.auth) {
            let decoded = STANDARD.decode(auth.trim()).map_err(drop)?;
            let decoded = String::from_utf8(decoded).map_err(drop)?;
            let (user, password) = decoded.split_once(':').ok_or(())?;
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.into() }));
        }
        Ok(set(self.username)
            .zip(set(self.password))
            .map(|(user, password)| Credentials::Basic { user, password: password.into() }))
    }
}

async fn ask(name: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let wrong = |why: String| CredentialsError::Helper { name: name.to_owned(), why };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(wrong("this is no name of one".into()));
    }
    let asked = tokio::time::timeout(HELPER_TIME, run(name, registry)).await;
    let late = |_| wrong(format!("it did not answer within {} seconds", HELPER_TIME.as_secs()));
    let (succeeded, answer) = asked.map_err(late)?.map_err(|error| wrong(error.to_string()))?;
    if !succeeded {
        // What every helper says on standard output (docker-credential-helpers, credentials/error.go).
        let none = String::from_utf8_lossy(&answer).contains("credentials not found");
        return if none { Ok(None) } else { Err(wrong("it failed; run it by hand to see why".into())) };
    }
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|_| wrong("its answer is not of the protocol".into()))?;
    Ok(Some(if answer.username == IDENTITY {
        Credentials::Identity(answer.secret.into())
    } else {
        Credentials::Basic { user: answer.username, password: answer.secret.into() }
    }))
}

async fn run(name: &str, registry: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut child = tokio::process::Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read has its reasons.
        drop(stdin.write_all(registry.as_bytes()).await);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MOST_ANSWER).read_to_end(&mut answer).await?;
    }
    Ok((child.wait().await?.success(), answer))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn said(credentials: Option<Credentials>) -> String {
        match credentials {
            None => "none".to_owned(),
            Some(Credentials::Basic { user, password }) => format!("{user}:{}", password.expose_secret()),
            Some(Credentials::Identity(token)) => format!("identity {}", token.expose_secret()),
            Some(Credentials::Token(token)) => format!("token {}", token.expose_secret()),
        }
    }

    async fn found(config: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        find(folder.path(), registry).await
    }

    // dTpwOnc= is u:p:w
    #[rstest]
    #[case(r#"{"auths": {"a.b": {"auth": "dTpwOnc="}}}"#, "u:p:w")]
    #[case(r#"{"auths": {"https://a.b/v1/": {"auth": "dTpwOnc="}}}"#, "u:p:w")]
    #[case(r#"{"auths": {"a.b": {"username": "u", "password": "w"}}}"#, "u:w")]
    #[case(r#"{"auths": {"a.b": {"auth": "dTpwOnc=", "identitytoken": "t"}}}"#, "identity t")]
    #[case(r#"{"auths": {"a.b": {"registrytoken": "t"}}}"#, "token t")]
    #[case(r#"{"auths": {"a.b": {}}}"#, "none")]
    #[case(r#"{"auths": {"a.b:5000": {"auth": "dTpwOnc="}, "xa.b": {"auth": "dTpwOnc="}}}"#, "none")]
    #[case(r#"{"auths": null, "HttpHeaders": {"User-Agent": "x"}}"#, "none")]
    #[case("{}", "none")]
    #[tokio::test]
    async fn the_file_is_understood(#[case] config: &str, #[case] expected: &str) {
        assert_eq!(said(found(config, "a.b").await.unwrap()), expected);
    }

    #[tokio::test]
    async fn no_file_is_no_credentials() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(folder.path(), "a.b").await.unwrap().is_none());
    }

    #[rstest]
    #[case(r#"{"auths": {"a.b": {"auth": "geheim!"}}}"#)]
    #[case(r#"{"auths": {"a.b": "geheim"}}"#)]
    #[case(r#"{"auths": geheim"#)]
    #[case(r#"{"credsStore": "../geheim"}"#)]
    #[tokio::test]
    async fn what_is_wrong_is_told_without_the_secret(#[case] config: &str) {
        let error = found(config, "a.b").await.unwrap_err();
        if !matches!(error, CredentialsError::Helper { .. }) {
            assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn secrets_are_in_no_text() {
        let found = found(r#"{"auths": {"a.b": {"username": "u", "password": "geheim"}}}"#, "a.b").await;
        assert!(!format!("{found:?}").contains("geheim"));
    }
}
