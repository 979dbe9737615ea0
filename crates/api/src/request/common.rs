//! The fields that a seat and a class share.

use lifecycle::LimitsRequest;
use seats::{ApiKey, EnvName, EnvVars, ImageRef, InvalidEnv, InvalidLimits, Limits};
use serde_json::Value;

use crate::input::{Fields, kind};

/// What a seat shall be, whichever seat it is.
pub(crate) struct Workspace {
    pub(crate) image: Option<ImageRef>,
    pub(crate) env: EnvVars,
    pub(crate) limits: LimitsRequest,
    pub(crate) api_key: Option<ApiKey>,
}

impl Workspace {
    /// Takes the four fields out. What is wrong with them is noted, and what remains does not matter then.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            api_key: fields.text("api_key", ApiKey::new),
            image: fields.text("image", |text| text.parse::<ImageRef>()),
            env: env(fields),
            limits: fields.nested("limits", limits).unwrap_or_default(),
        }
    }
}

fn env(fields: &mut Fields<'_>) -> EnvVars {
    let mut env = EnvVars::default();
    for (name, value) in fields.map("env").unwrap_or_default() {
        // Whoever swaps names and values puts a secret where a name belongs: what is no name is not quoted.
        let path = if EnvName::new(&name).is_ok() { format!("env.{name}") } else { "env".to_owned() };
        let result = match value {
            Value::String(text) => env.insert(&name, text).map_err(|error| (error, error.to_string())),
            other => {
                fields.wrong(&path, format_args!("a variable's value is text, not {}", kind(&other)));
                continue;
            }
        };
        match result {
            Ok(()) => {}
            // One line says it for all of them.
            Err((InvalidEnv::TooMany, message)) => {
                fields.wrong("env", message);
                break;
            }
            Err((_, message)) => fields.wrong(&path, message),
        }
    }
    env
}

fn limits(fields: &mut Fields<'_>) -> LimitsRequest {
    let cpu_millis = fields.number("cpus").map(millis);
    let memory_mib = fields.whole("memory_mib").map(narrow);
    let pids = fields.whole("pids").map(narrow);
    // Each one is checked beside defaults that are in bounds, so that every mistake is found, not only the first.
    let good = Limits::default();
    let mut check = |name: &str, limits: Limits| {
        if let Err(error) = limits.checked() {
            debug_assert!(matches!(
                (name, error),
                ("cpus", InvalidLimits::Cpus)
                    | ("memory_mib", InvalidLimits::Memory)
                    | ("pids", InvalidLimits::Pids)
            ));
            fields.wrong(name, error);
        }
    };
    if let Some(cpu_millis) = cpu_millis {
        check("cpus", Limits { cpu_millis, ..good });
    }
    if let Some(memory_mib) = memory_mib {
        check("memory_mib", Limits { memory_mib, ..good });
    }
    if let Some(pids) = pids {
        check("pids", Limits { pids, ..good });
    }
    LimitsRequest { cpu_millis, memory_mib, pids }
}

/// CPUs in thousandths, to the nearest. A value below the least or above the most stays out of bounds: it is not
/// rounded into them.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates, and both ends are refused
fn millis(cpus: f64) -> u32 {
    const LEAST: f64 = 0.01;
    const MOST: f64 = 256.0;
    if cpus < LEAST {
        0
    } else if cpus > MOST {
        u32::MAX
    } else {
        (cpus * 1000.0).round() as u32
    }
}

/// What does not fit is out of bounds anyway.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::input::FieldErrors;

    fn read(body: Value) -> (Workspace, FieldErrors) {
        let mut errors = FieldErrors::default();
        let mut fields = Fields::of_body(body, &mut errors).unwrap();
        let workspace = Workspace::read(&mut fields);
        fields.finish();
        (workspace, errors)
    }

    #[test]
    fn everything_optional_may_be_left_out() {
        let (workspace, errors) = read(json!({}));
        assert!(errors.fields().is_empty());
        assert!(workspace.image.is_none() && workspace.env.is_empty() && workspace.api_key.is_none());
        assert_eq!(workspace.limits, LimitsRequest::default());
    }

    #[test]
    fn everything_is_read() {
        let (workspace, errors) = read(json!({
            "api_key": "k", "image": "a/b:1", "env": {"A": "1", "B": ""},
            "limits": {"cpus": 1.5, "memory_mib": 512, "pids": 256},
        }));
        assert!(errors.fields().is_empty(), "{errors:?}");
        assert_eq!(workspace.image.unwrap().as_str(), "a/b:1");
        assert_eq!(workspace.env.get("B"), Some(""));
        assert_eq!(workspace.api_key.unwrap().expose(), "k");
        let limits = LimitsRequest { cpu_millis: Some(1500), memory_mib: Some(512), pids: Some(256) };
        assert_eq!(workspace.limits, limits);
    }

    #[test]
    fn every_mistake_is_found_and_no_secret_is_quoted() {
        let (_, errors) = read(json!({
            "api_key": "sk-canary-secret\0", "image": "sk-canary-secret IMAGE",
            "env": {"sk-canary-secret": "A B", "C": 5, "D": "sk-canary-secret\0", "SEAT": "sk-canary-secret"},
            "limits": {"cpus": 0.001, "memory_mib": 1, "pids": -1, "cpu": 1},
        }));
        assert_eq!(
            errors.fields(),
            [
                "api_key",
                "image",
                "env.C",
                "env.D",
                "env.SEAT",
                "env",
                "limits.pids",
                "limits.cpus",
                "limits.memory_mib",
                "limits.cpu",
            ]
        );
        assert!(!format!("{:?}{:?}", errors.messages(), errors.fields()).contains("sk-canary-secret"));
    }

    #[test]
    fn too_many_variables_are_one_mistake() {
        let env: serde_json::Map<_, _> = (0..1000).map(|number| (format!("V{number}"), json!("x"))).collect();
        assert_eq!(read(json!({ "env": env })).1.fields(), ["env"]);
    }

    #[test]
    fn limits_hold_at_their_edges() {
        for (limits, good) in [
            (json!({"cpus": 0.01}), true),
            (json!({"cpus": 0.0099}), false),
            (json!({"cpus": 256}), true),
            (json!({"cpus": 256.0001}), false),
            (json!({"cpus": 1e300}), false),
            (json!({"cpus": -1}), false),
            (json!({"memory_mib": 16}), true),
            (json!({"memory_mib": 15}), false),
            (json!({"memory_mib": 1_048_576}), true),
            (json!({"memory_mib": 1_048_577}), false),
            (json!({"memory_mib": u64::MAX}), false),
            (json!({"memory_mib": 512.0}), false),
            (json!({"pids": 16}), true),
            (json!({"pids": 1_000_000}), true),
            (json!({"pids": 1_000_001}), false),
        ] {
            assert_eq!(read(json!({ "limits": limits })).1.fields().is_empty(), good, "{limits}");
        }
    }

    proptest! {
        #[test]
        fn no_number_panics_and_thousandths_are_kept(cpus in any::<f64>(), thousandths in 10u32..=256_000) {
            let _ = millis(cpus);
            prop_assert_eq!(millis(f64::from(thousandths) / 1000.0), thousandths);
        }
    }
}
