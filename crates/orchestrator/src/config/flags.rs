//! The flags of `serve`, made from the table.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::settings::{Setting, TABLE};

/// The settings that were given as flags: key, flag and text.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) Vec<(&'static str, String, String)>);

/// The settings that `-h` shows; `--help` shows all.
const COMMON: [&str; 5] = ["listen", "provider", "token_file", "seats.image", "log.level"];

impl SettingFlags {
    fn arg(setting: &'static Setting) -> Arg {
        let flag = setting.flag();
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let arg = Arg::new(setting.key)
            .long(flag)
            .help(setting.doc)
            .long_help(format!("{}\n[default: {default}] [env: {}]", setting.doc, setting.variable()))
            .help_heading("Settings")
            .hide_short_help(!COMMON.contains(&setting.key))
            // Given twice, the later one counts, as with layers.
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_name(setting.section_and_name().1.to_uppercase());
        if matches!(setting.default, "true" | "false") {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
        } else {
            arg
        }
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(TABLE.iter().map(Self::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Vec::new();
        for setting in TABLE {
            for text in matches.get_many::<String>(setting.key).into_iter().flatten() {
                flags.push((setting.key, setting.flag(), text.clone()));
            }
        }
        Ok(Self(flags))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
