//! What the image's configuration says, and what it should not.

use crate::RunConfig;
use crate::inspect::Finding;
use crate::inspect::finding::Listed;
use crate::inspect::view::View;
use crate::path::shown;

/// What a workspace serves: its terminal and its files.
const PORTS: [u16; 2] = [3001, 3002];
/// What a variable or label is called that holds a secret: the end of its name in capitals, with underscores.
const SECRET: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "SECRET_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "CREDENTIALS",
];
/// How secrets of well-known services begin.
const PREFIXES: [&str; 7] = ["sk-ant-", "sk-proj-", "ghp_", "github_pat_", "glpat-", "AKIA", "-----BEGIN"];
/// Signals that end a process (`signal(7)`), without `SIG`.
const SIGNALS: [&str; 10] = ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "TERM", "WINCH", "PWR"];

pub(in crate::inspect) fn all(view: &View<'_>) -> Vec<Finding> {
    vec![ports(view.config()), health_check(view), volumes(view.config()), stop(view.config()), secrets(view)]
}

/// The signal that ends it.
pub(in crate::inspect) fn stop_signal(config: &RunConfig) -> &str {
    if config.stop_signal.is_empty() { "SIGTERM" } else { &config.stop_signal }
}

fn ports(config: &RunConfig) -> Finding {
    let is_exposed = |port: u16| config.exposed_ports.iter().any(|exposed| covers(exposed, port));
    let missing: Vec<_> =
        PORTS.into_iter().filter(|&port| !is_exposed(port)).map(|port| port.to_string()).collect();
    if missing.is_empty() {
        return Finding::ok("ports", "3001 (terminal) and 3002 (files)");
    }
    let detail = format!("the image does not say that it serves {}", missing.join(" and "));
    let remedy = "serve the terminal on 3001 and the files on 3002, and EXPOSE both";
    Finding::warning("ports", detail, remedy)
}

/// Whether `3001/tcp`, `3001` or `3000-3010/tcp` is about a port.
fn covers(exposed: &str, port: u16) -> bool {
    let (numbers, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    protocol == "tcp" && range.is_some_and(|(first, last)| (first..=last).contains(&port))
}

fn health_check(view: &View<'_>) -> Finding {
    let test = view.config().healthcheck.as_ref().map_or(&[][..], |check| check.test.as_slice());
    let program = match test {
        [] => return Finding::ok("health_check", "none: a seat is ready when port 3001 answers"),
        [kind, ..] if kind == "NONE" => return Finding::ok("health_check", "switched off"),
        [kind, program, ..] if kind == "CMD" => program.as_str(),
        [kind, ..] if kind == "CMD-SHELL" => "/bin/sh",
        _ => {
            let detail = "it is neither CMD nor CMD-SHELL nor NONE";
            return Finding::warning("health_check", detail, "correct HEALTHCHECK in the Dockerfile");
        }
    };
    match view.program(program.as_bytes()) {
        Ok(found) => Finding::ok("health_check", format!("runs {}", found.shown())),
        Err(why) => Finding::warning(
            "health_check",
            format!("{} does not run: {why}", shown(program.as_bytes())),
            "install it, or correct HEALTHCHECK",
        ),
    }
}

fn volumes(config: &RunConfig) -> Finding {
    let kept = |path: &str| path == "/workspace" || path.starts_with("/workspace/");
    let mut others = Listed::default();
    for path in config.volumes.iter().filter(|path| !kept(path)) {
        others.add(|| shown(path.as_bytes()));
    }
    if others.is_empty() {
        return Finding::ok("volumes", "none but /workspace");
    }
    let detail = format!("not kept when a seat is reset: {}", others.few());
    Finding::warning("volumes", detail, "keep what matters below /workspace").paths(&others)
}

fn stop(config: &RunConfig) -> Finding {
    let signal = stop_signal(config);
    let name = signal.strip_prefix("SIG").unwrap_or(signal);
    let is_number = signal.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if is_number || SIGNALS.contains(&name) || name.starts_with("RTMIN") || name.starts_with("RTMAX") {
        return Finding::ok("stop_signal", shown(signal.as_bytes()));
    }
    let detail = format!("{} is no signal that ends a program", shown(signal.as_bytes()));
    Finding::warning("stop_signal", detail, "correct STOPSIGNAL, or leave it out for SIGTERM")
}

/// Names only: who reads the report is not to read the secret.
fn secrets(view: &View<'_>) -> Finding {
    let mut found = Listed::default();
    for (name, value) in view.environment.iter() {
        let named = is_secret(name) || name.to_ascii_uppercase().ends_with("_KEY") && !is_public(name);
        if (named && is_value(value)) || is_known(value) {
            found.add(|| format!("the variable {}", shown(name.as_bytes())));
        }
    }
    for (name, value) in &view.config().labels {
        if (is_secret(name) && is_value(value)) || is_known(value) {
            found.add(|| format!("the label {}", shown(name.as_bytes())));
        }
    }
    if found.is_empty() {
        return Finding::ok("secrets", "none in the environment or the labels, by their names");
    }
    let detail = format!("everybody with the image can read {}", found.few());
    let remedy =
        "remove them from the image, replace them where they are valid, and give them to seats instead";
    Finding::warning("secrets", detail, remedy)
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    SECRET.iter().any(|end| name.ends_with(end)) && !is_public(&name)
}

/// `GPG_KEY` of many images is a fingerprint.
fn is_public(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.contains("PUBLIC") || name.contains("GPG") || name.contains("PUBKEY")
}

/// Neither nothing, nor a switch, nor the path of a file.
fn is_value(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty()
        && !value.starts_with('/')
        && !["true", "false", "yes", "no", "0", "1", "none", "null"]
            .contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a value is a secret by its form: that of a well-known service, or an address with a password.
fn is_known(value: &str) -> bool {
    let with_password = value.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let login = host.rsplit_once('@').and_then(|(login, _)| login.split_once(':'));
        login.is_some_and(|(_, password)| !password.is_empty())
    });
    with_password || PREFIXES.iter().any(|prefix| value.starts_with(prefix) && value.len() > prefix.len() + 8)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("3001/tcp", 3001, true)]
    #[case("3001", 3001, true)]
    #[case("3000-3010/tcp", 3001, true)]
    #[case("3001/udp", 3001, false)]
    #[case("30011/tcp", 3001, false)]
    #[case("x-y/tcp", 3001, false)]
    fn ports_are_read(#[case] exposed: &str, #[case] port: u16, #[case] covered: bool) {
        assert_eq!(covers(exposed, port), covered);
    }

    #[rstest]
    #[case("DB_PASSWORD", true)]
    #[case("github.token", true)]
    #[case("org.example.api-key", true)]
    #[case("GPG_KEY", false)]
    #[case("org.clarateach.image.key", false)]
    #[case("TOKENIZERS_PARALLELISM", false)]
    #[case("SSH_PUBLIC_API_KEY", false)]
    fn secrets_have_names(#[case] name: &str, #[case] secret: bool) {
        assert_eq!(is_secret(name), secret);
    }

    #[rstest]
    #[case("http://user:pass@proxy:3128/", true)]
    #[case("postgres://app:hunter2@db", true)]
    #[case("http://user@proxy", false)]
    #[case("http://proxy:3128/a:b@c", false)]
    #[case("sk-ant-0123456789abcdef", true)]
    #[case("sk-ant-", false)]
    #[case("", false)]
    fn secrets_have_forms(#[case] value: &str, #[case] secret: bool) {
        assert_eq!(is_known(value), secret);
    }
}
