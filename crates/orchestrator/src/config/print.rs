//! The configuration for people: what is in force, and the reference of what there is.

use std::fmt::Write as _;

use super::Config;
use super::settings::{Setting, TABLE};
use super::value::quoted;

/// The configuration in force as a TOML file, each value with where it came from. Secrets are not shown.
pub(crate) fn effective(config: &Config) -> String {
    let mut text = String::new();
    let file = config.file.as_ref().map_or("none".into(), |path| path.display().to_string());
    let token = if config.token.is_some() { "set" } else { "not set" };
    // Writing to a String does not fail.
    let _ = writeln!(text, "# configuration file: {file}\n# token: {token}");
    let mut current = None;
    for setting in TABLE {
        let (section, name) = setting.section_and_name();
        if section != current {
            let _ = writeln!(text, "\n[{}]", section.unwrap_or_default());
            current = section;
        }
        let source = config.source(setting.key);
        let _ = match (setting.show)(&config.settings) {
            Some(value) => writeln!(text, "{name} = {value} # {source}"),
            // Written out only where it replaces something, so that the output says the same when read again.
            None if default_is_off(setting) => writeln!(text, "# {name} is off # {source}"),
            None => writeln!(text, "{name} = {} # {source}", quoted("off")),
        };
    }
    text
}

fn default_is_off(setting: &Setting) -> bool {
    setting.default == "off"
}

/// Every setting as a Markdown table.
pub(crate) fn reference() -> String {
    let mut text =
        String::from("| key | variable | value | default | what it is for |\n|---|---|---|---|---|\n");
    for setting in TABLE {
        let default = match setting.default {
            "" => "(none)".into(),
            // The one default that depends on the platform.
            _ if setting.key == "docker.publish" => "off; on macOS `127.0.0.1`".into(),
            default => format!("`{default}`"),
        };
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} | {default} | {} |",
            setting.key,
            setting.variable(),
            (setting.form)().replace('|', "\\|"),
            setting.doc,
        );
    }
    text
}
