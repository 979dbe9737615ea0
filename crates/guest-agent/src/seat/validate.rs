//! Whether a configuration can be followed at all; every trouble at once.

use guest_protocol::{GuestConfig, Problem, ProblemCode};

use crate::sys::MAX_ENTROPY;

/// The longest host name (`HOST_NAME_MAX` of limits.h).
const HOSTNAME: usize = 64;
/// The most of a list that is taken.
const MANY: usize = 4096;

/// Whether it can be followed.
pub(crate) fn validate(config: &GuestConfig) -> Result<(), Problem> {
    let mut trouble = Vec::new();
    let name = &config.hostname;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if name.len() > HOSTNAME || !plain(name) {
        trouble.push(format!("hostname {name:?} is not 1 to {HOSTNAME} visible characters"));
    }
    if config.machine_id.len() != 32 || !config.machine_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        trouble.push(format!("machine_id {:?} is not 32 hex digits", config.machine_id));
    }
    if config.entropy.expose().len() > MAX_ENTROPY {
        trouble.push(format!("entropy has more than {MAX_ENTROPY} bytes"));
    }
    for variable in &config.env {
        if variable.name.is_empty()
            || variable.name.contains(['=', '\0'])
            || variable.value.expose().contains('\0')
        {
            trouble.push(format!(
                "env {:?} is no variable: a name without = and a value without NUL",
                variable.name
            ));
        }
    }
    if let Some(network) = &config.network {
        if network.prefix > 32 {
            trouble.push(format!("network.prefix {} is more than 32", network.prefix));
        }
        if network.mtu.is_some_and(|mtu| !(576..=65_535).contains(&mtu)) {
            trouble.push("network.mtu is not 576 to 65535".into());
        }
    }
    for entry in &config.hosts {
        if entry.names.is_empty() || !entry.names.iter().all(|name| plain(name)) {
            trouble.push(format!("hosts: the names of {} are none", entry.address));
        }
    }
    if let Some(resolver) = &config.resolver
        && !resolver.search.iter().chain(&resolver.options).all(|word| plain(word))
    {
        trouble.push("resolver: a search domain or an option is none".into());
    }
    if config.limits.pids == Some(0) {
        trouble.push("limits.pids is 0: nothing could run".into());
    }
    if config.hosts.len() > MANY || config.env.len() > MANY {
        trouble.push(format!("more than {MANY} hosts or variables"));
    }
    if let Err(problem) = crate::run::capabilities(&config.capabilities) {
        trouble.push(problem.message);
    }
    if trouble.is_empty() {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Invalid, trouble.join("; ")))
}

#[cfg(test)]
mod tests {
    use guest_protocol::{EnvVar, Limits, Run};

    use super::*;

    #[test]
    fn every_trouble_is_told_and_no_value() {
        let mut config = GuestConfig::new("a/1", "seat-1", "0".repeat(32), Run::default());
        assert_eq!(validate(&config), Ok(()));
        config.hostname = "a b".into();
        config.machine_id = "xyz".into();
        config.env = vec![EnvVar::secret("A=", "sk-canary-x")];
        config.limits = Limits { pids: Some(0) };
        config.capabilities = vec!["FLY".into()];
        let message = validate(&config).unwrap_err().message;
        for part in ["hostname", "machine_id", "\"A=\"", "pids", "FLY"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("canary"), "{message}");
    }
}
