//! From what an image and a seat say to a program that can be started.

use std::path::{Path, PathBuf};

use guest_protocol::{ExecRequest, GuestConfig, Problem, ProblemCode};
use rustix::thread::CapabilitySet;

use super::environment::{DEFAULT_PATH, Environment};
use super::launch::Plan;
use super::{lookup, users};
use crate::seat::Seat;

/// What a terminal is when nobody says otherwise; Docker's.
const TERM: &str = "xterm";

/// The image's own program.
pub(crate) fn plan_workload(seat: &Seat) -> Result<Plan, Problem> {
    let run = &seat.config.run;
    let argv: Vec<_> = run.entrypoint.iter().chain(&run.cmd).cloned().collect();
    if argv.is_empty() {
        return Err(trouble("the image says nothing to run: it has neither an entrypoint nor a command"));
    }
    plan(seat, argv, &run.user, &run.working_dir, variables(&seat.config))
}

/// A program beside it.
pub(crate) fn plan_exec(seat: &Seat, request: &ExecRequest) -> Result<Plan, Problem> {
    let run = &seat.config.run;
    if request.argv.is_empty() {
        return Err(Problem::new(ProblemCode::Invalid, "argv is empty: name a program"));
    }
    let mut environment = variables(&seat.config);
    if request.tty.is_some() {
        environment.set_if_absent("TERM", TERM);
    }
    environment.add(&request.env);
    let user = request.user.as_deref().unwrap_or(&run.user);
    let folder = request.working_dir.as_ref().map_or(&*run.working_dir, |path| path.as_str());
    plan(seat, request.argv.clone(), user, folder, environment)
}

fn variables(config: &GuestConfig) -> Environment {
    Environment::of_seat(&config.hostname, &config.run.env, &config.env)
}

fn plan(
    seat: &Seat,
    argv: Vec<String>,
    user: &str,
    folder: &str,
    mut environment: Environment,
) -> Result<Plan, Problem> {
    if argv.iter().any(|word| word.contains('\0')) || environment.iter().any(|(name, value)| odd(name, value))
    {
        return Err(Problem::new(
            ProblemCode::Invalid,
            "an argument or a variable has a NUL, or a name is none",
        ));
    }
    let user = users::resolve(user).map_err(trouble)?;
    environment.set_if_absent("HOME", &user.home);
    let folder = folder_of(folder)?;
    let path = environment.get("PATH").unwrap_or(DEFAULT_PATH);
    let file = lookup::find(&argv[0], path, &folder).map_err(trouble)?;
    let capabilities = capabilities(&seat.config.capabilities)?;
    Ok(Plan { file, argv, environment, folder, user, capabilities, cgroup: seat.cgroup.clone() })
}

/// What the kernel or the C library would take for something else.
fn odd(name: &str, value: &str) -> bool {
    name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
}

/// The working folder; it is made when it is not there, as Docker does.
fn folder_of(text: &str) -> Result<PathBuf, Problem> {
    let folder = Path::new("/").join(text);
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        // A root that cannot be written to, and a folder that is there.
        Err(_) if folder.is_dir() => Ok(folder),
        Err(why) => Err(trouble(format!("the working folder {} cannot be made: {why}", folder.display()))),
    }
}

/// The bits of these names.
pub(crate) fn capabilities(names: &[String]) -> Result<u64, Problem> {
    let mut all = CapabilitySet::empty();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let one = CapabilitySet::from_name(upper.strip_prefix("CAP_").unwrap_or(&upper));
        all |= one.ok_or_else(|| {
            Problem::new(
                ProblemCode::Invalid,
                format!("{name:?} is no capability (capabilities(7), without CAP_)"),
            )
        })?;
    }
    Ok(all.bits())
}

fn trouble(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::NotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_by_name() {
        let names: Vec<_> = ["CHOWN", "cap_kill"].map(str::to_owned).to_vec();
        assert_eq!(capabilities(&names).unwrap(), 1 | 1 << 5);
        assert!(capabilities(&["FLY".to_owned()]).is_err());
    }
}
