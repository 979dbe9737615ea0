//! What every workspace can count on, whatever runs it: its environment, its ports, and how its end is told.

use std::fmt;

use crate::SeatSpec;

/// Where a seat's data is.
pub const FOLDER: &str = "/workspace";
/// The ports of the workspace contract: terminal and files.
pub const PORTS: [u16; 2] = [3001, 3002];
/// The variable that carries the seat's api key.
pub const API_KEY: &str = "ANTHROPIC_API_KEY";

/// What the operator has set for all workspaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults<'a> {
    /// Sets `AUTH_DISABLED`.
    pub auth_disabled: bool,
    /// Sets `JWKS_URL`.
    pub jwks_url: Option<&'a str>,
}

/// One variable of a workspace.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether the value came from the caller and may be a secret.
    pub is_secret: bool,
}

/// The name alone: the value may be a secret.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Every variable of a seat's workspace, each name once.
#[must_use]
pub fn environment(defaults: Defaults<'_>, spec: &SeatSpec) -> Vec<Variable> {
    let own = |name: &str, value: String| Variable { name: name.to_owned(), value, is_secret: false };
    let [terminal, files] = PORTS;
    let mut env = vec![
        own("WORKSPACE_DIR", FOLDER.to_owned()),
        own("TERM", "xterm-256color".to_owned()),
        own("TERMINAL_PORT", terminal.to_string()),
        own("FILES_PORT", files.to_string()),
        own("AUTH_DISABLED", defaults.auth_disabled.to_string()),
        own("SEAT", spec.seat.seat.to_string()),
        own("CONTAINER_ID", format!("c-{:02}", spec.seat.seat.get())),
    ];
    env.extend(defaults.jwks_url.map(|url| own("JWKS_URL", url.to_owned())));
    // What the caller gives replaces what is configured: of a name that is there twice, some programs see the first
    // value and some the last.
    env.retain(|variable| spec.env.get(&variable.name).is_none());
    env.extend(spec.env.iter().map(|(name, value)| Variable {
        name: name.to_owned(),
        value: value.to_owned(),
        is_secret: !crate::EnvVars::DEFAULTED.contains(&name),
    }));
    env.extend(spec.api_key.as_ref().map(|key| Variable {
        name: API_KEY.to_owned(),
        value: key.expose().to_owned(),
        is_secret: true,
    }));
    env
}

/// The TCP ports among `80/tcp`, `53/udp`, …, the terminal's first; those of the contract when there is none.
#[must_use]
pub fn exposed_ports<'a>(exposed: impl IntoIterator<Item = &'a String>) -> Vec<u16> {
    let tcp = exposed.into_iter().filter_map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        number.parse().ok().filter(|_| protocol == "tcp")
    });
    order_ports(tcp.collect())
}

/// The ports in the order that the API shows them: the terminal's first, then by number.
#[must_use]
pub fn order_ports(mut ports: Vec<u16>) -> Vec<u16> {
    if ports.is_empty() {
        return PORTS.to_vec();
    }
    ports.sort_by_key(|port| (*port != PORTS[0], *port));
    ports.dedup();
    ports
}

/// Why a workspace that ends is no workspace. `code` is its exit code as text; `last_words` is the last line that it
/// said, without secrets.
#[must_use]
pub fn dying(code: &str, last_words: Option<&str>) -> String {
    let said = last_words.filter(|line| !line.is_empty()).map(|line| format!(": {line}")).unwrap_or_default();
    format!("the workspace exits with code {code}{said}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{ApiKey, EnvVars, Limits, SeatBound, SeatRef};

    fn spec() -> SeatSpec {
        let mut env = EnvVars::default();
        env.insert("LESSON", "one".into()).unwrap();
        SeatSpec {
            seat: SeatRef::new("rust-101".parse().unwrap(), SeatBound::default().seat(7).unwrap()),
            image: "clarateach-workspace".parse().unwrap(),
            env,
            limits: Limits::default(),
            api_key: Some(ApiKey::new("sk-canary-1\n$HOME".into()).unwrap()),
        }
    }

    const DEFAULTS: Defaults<'static> = Defaults { auth_disabled: false, jwks_url: Some("http://x/jwks") };

    #[test]
    fn the_environment_is_that_of_the_scripts() {
        let env = environment(DEFAULTS, &spec());
        let pairs: Vec<_> =
            env.iter().map(|variable| format!("{}={}", variable.name, variable.value)).collect();
        assert_eq!(
            pairs,
            [
                "WORKSPACE_DIR=/workspace",
                "TERM=xterm-256color",
                "TERMINAL_PORT=3001",
                "FILES_PORT=3002",
                "AUTH_DISABLED=false",
                "SEAT=7",
                "CONTAINER_ID=c-07",
                "JWKS_URL=http://x/jwks",
                "LESSON=one",
                "ANTHROPIC_API_KEY=sk-canary-1\n$HOME",
            ]
        );
        let secrets: Vec<_> = env.iter().filter(|variable| variable.is_secret).collect();
        assert_eq!(format!("{secrets:?}"), "[LESSON, ANTHROPIC_API_KEY]");
    }

    #[test]
    fn what_the_caller_gives_replaces_what_is_configured() {
        let mut spec = spec();
        for (name, value) in [("AUTH_DISABLED", "true"), ("JWKS_URL", "http://y/jwks")] {
            spec.env.insert(name, value.into()).unwrap();
        }
        let env = environment(DEFAULTS, &spec);
        for name in EnvVars::DEFAULTED {
            let of_name: Vec<_> = env.iter().filter(|variable| variable.name == name).collect();
            assert_eq!(of_name.len(), 1);
            assert_eq!(Some(of_name[0].value.as_str()), spec.env.get(name));
            assert!(!of_name[0].is_secret);
        }
    }

    #[rstest]
    #[case(&["3002/tcp", "3001/tcp"], &[3001, 3002])]
    #[case(&["80/tcp", "3001/tcp", "53/udp"], &[3001, 80])]
    #[case(&["8888"], &[8888])]
    #[case(&["53/udp"], &[3001, 3002])]
    #[case(&[], &[3001, 3002])]
    fn the_ports_of_a_workspace(#[case] exposed: &[&str], #[case] ports: &[u16]) {
        let exposed: Vec<String> = exposed.iter().map(ToString::to_string).collect();
        assert_eq!(exposed_ports(&exposed), ports);
    }

    #[test]
    fn an_end_is_told_with_the_last_words() {
        assert_eq!(
            dying("3", Some("boom: no licence file")),
            "the workspace exits with code 3: boom: no licence file"
        );
        assert_eq!(dying("1", Some("")), dying("1", None));
    }
}
