//! The first line of a script (`execve(2)`, "Interpreter scripts").

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::lookup::{Found, resolve};
use super::view::{NotRun, View};
use crate::path::shown;

/// Why a script has no interpreter that runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoInterpreter {
    #[error("its first line names no interpreter")]
    Nameless,
    #[error("its lines end as in Windows, so that its interpreter is {0:?}")]
    CarriageReturn(String),
    #[error("its interpreter {0} does not run: {1}")]
    NotRun(String, NotRun),
    #[error("env is asked for a program {0:?}, spaces included, which it splits with -S only")]
    Unsplit(String),
}

/// The program that runs a script, the one behind `env` included. `line` is what follows `#!`.
pub(super) fn interpreter(view: &View<'_>, line: &[u8]) -> Result<Found, NoInterpreter> {
    let line = line.trim_ascii_start();
    if let Some(rest) = line.strip_suffix(b"\r") {
        return Err(NoInterpreter::CarriageReturn(format!("{}\r", shown(rest))));
    }
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let (path, argument) = (&line[..end], line[end..].trim_ascii_start());
    if path.is_empty() {
        return Err(NoInterpreter::Nameless);
    }
    let fail = |name: &[u8], why| NoInterpreter::NotRun(shown(name), why);
    // The kernel looks in no PATH.
    resolve(view.tree, view.working_dir(), path).map_err(|lost| fail(path, NotRun::Lost(lost)))?;
    let here = if path.contains(&b'/') { path.to_vec() } else { [b"./", path].concat() };
    let found = view.program(&here).map_err(|why| fail(path, why))?;
    let is_env = Path::new(OsStr::from_bytes(path)).file_name() == Some(OsStr::new("env"));
    match behind_env(argument).filter(|_| is_env) {
        None => Ok(found),
        Some(name) => view.program(name).map_err(|why| {
            if name.contains(&b' ') {
                return NoInterpreter::Unsplit(shown(name));
            }
            fail(name, why)
        }),
    }
}

/// The program that `env` is to run (`env(1)`): the kernel gives it all that follows as one argument. Nothing when it has
/// options that are not known here.
fn behind_env(argument: &[u8]) -> Option<&[u8]> {
    let is_setting = |word: &&[u8]| word.contains(&b'=');
    let Some(split) = argument.strip_prefix(b"-S").or_else(|| argument.strip_prefix(b"--split-string="))
    else {
        return Some(argument)
            .filter(|word| !word.is_empty() && !word.starts_with(b"-") && !is_setting(word));
    };
    let mut words = split.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.find(|word| !is_setting(word)).filter(|word| !word.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("python3", Some("python3"))]
    #[case("python3 -u", Some("python3 -u"))]
    #[case("-S python3 -u", Some("python3"))]
    #[case("-S A=b node --x", Some("node"))]
    #[case("-Sdeno run", Some("deno"))]
    #[case("--split-string=node -x", Some("node"))]
    #[case("-i", None)]
    #[case("-S -i node", None)]
    #[case("", None)]
    fn env_runs_what_it_is_told(#[case] argument: &str, #[case] program: Option<&str>) {
        assert_eq!(behind_env(argument.as_bytes()), program.map(str::as_bytes));
    }
}
