//! What starts: from the image's words to the files that the kernel runs.

use super::elf::{Elf, Machine};
use super::facts::Head;
use super::finding::Finding;
use super::libraries::{self, Libraries};
use super::lookup::{Found, Lost, Wish, may};
use super::report::{Link, LinkKind};
use super::script;
use super::view::{View, is_file};
use crate::path::shown;

/// How many scripts may be each other's interpreters (linux, fs/exec.c, `exec_binprm`).
const MOST_SCRIPTS: usize = 4;

/// What is known of what starts.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) chain: Vec<Link>,
    pub(super) findings: Vec<Finding>,
    /// The processor of the program.
    pub(super) machine: Option<Machine>,
}

/// Looks at what the image's entrypoint and command start.
pub(super) fn judge(view: &View<'_>) -> Start {
    let mut start = Start::default();
    let words: Vec<&str> = words(view).collect();
    let Some(&first) = words.first() else {
        start.findings.push(Finding::will_not_boot(
            "program",
            "the image has neither an entrypoint nor a command",
            "set ENTRYPOINT or CMD in its Dockerfile",
        ));
        return start;
    };
    start.program(view, "program", first);
    if let Some(wrapped) = wrapped(&words) {
        start.program(view, "wrapped_program", wrapped);
    }
    start.findings.extend(init_system(view, &start.chain));
    start
}

/// Entrypoint and command, as one list.
pub(super) fn words<'a>(view: &View<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let config = view.config();
    config.entrypoint.iter().chain(&config.cmd).map(String::as_str)
}

/// The program that a small init is to start, whose absence shows only then.
pub(super) fn wrapped<'a>(words: &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    let with_value: &[&str] = match first.rsplit('/').next().unwrap_or_default() {
        "tini" | "tini-static" | "docker-init" => &["-e", "-p"],
        "dumb-init" => &["-r", "--rewrite"],
        "catatonit" => &[],
        _ => return None,
    };
    let mut rest = rest.iter();
    while let Some(&word) = rest.next() {
        match word {
            "--" => return rest.next().copied(),
            _ if with_value.contains(&word) => drop(rest.next()),
            _ if word.starts_with('-') => {}
            _ => return Some(word),
        }
    }
    None
}

impl Start {
    fn program(&mut self, view: &View<'_>, name: &'static str, called: &str) {
        let found = match view.program(called.as_bytes()) {
            Ok(found) => found,
            Err(why) => {
                let detail = format!("{} does not start: {why}", shown(called.as_bytes()));
                let remedy = "correct ENTRYPOINT and CMD, install the program, or make it executable";
                self.findings.push(Finding::will_not_boot(name, detail, remedy));
                return;
            }
        };
        let mut script = found.clone();
        let mut scripts = 0;
        // From script to interpreter, until there is a program.
        let outcome = loop {
            match view.facts.head(script.id) {
                Some(Head::Elf(elf)) => break Ok((script, elf)),
                Some(Head::Script(line)) => {
                    self.link(&script, LinkKind::Script);
                    if !may(view.user, view.node(script.id), Wish::Read) {
                        let detail = format!("{} is a script that its user may not read", script.shown());
                        break Err((name, detail, "make it readable (chmod a+r) in the image"));
                    }
                    scripts += 1;
                    if scripts > MOST_SCRIPTS {
                        let detail =
                            format!("more than {MOST_SCRIPTS} scripts are each other's interpreters");
                        break Err(("interpreter", detail, "name a program as the interpreter"));
                    }
                    match script::interpreter(view, line) {
                        Ok(interpreter) => script = interpreter,
                        Err(why) => {
                            let detail = format!("{}: {why}", script.shown());
                            break Err((
                                "interpreter",
                                detail,
                                "install the interpreter, or correct the first line of the script",
                            ));
                        }
                    }
                }
                Some(Head::Damaged) => {
                    let detail = format!("{} is a damaged ELF file", script.shown());
                    break Err((name, detail, "build or install it again"));
                }
                Some(Head::Other) => {
                    let detail = format!("{} is neither an ELF program nor a script with #!", script.shown());
                    break Err((name, detail, "begin it with #! and its interpreter, or start a program"));
                }
                None => {
                    let detail = format!("{} is there, and was not looked at", script.shown());
                    self.findings.push(Finding::warning(name, detail, "try whether it starts"));
                    return;
                }
            }
        };
        match outcome {
            Ok((program, elf)) => self.elf(view, name, (&found, called), &program, elf),
            Err((name, detail, remedy)) => {
                self.findings.push(Finding::will_not_boot(name, detail, remedy));
            }
        }
    }

    fn link(&mut self, found: &Found, kind: LinkKind) {
        let link = Link { path: found.shown(), kind };
        if !self.chain.contains(&link) {
            self.chain.push(link);
        }
    }

    fn elf(
        &mut self,
        view: &View<'_>,
        name: &'static str,
        (first, called): (&Found, &str),
        program: &Found,
        elf: &Elf,
    ) {
        let is_static = elf.interpreter.is_none();
        self.link(program, if is_static { LinkKind::Static } else { LinkKind::Dynamic });
        self.machine = self.machine.or(Some(elf.machine));
        if !elf.is_program() {
            let detail = format!("{} is an ELF file, and no program", program.shown());
            self.findings.push(Finding::will_not_boot(name, detail, "link it to a program"));
            return;
        }
        let linked = if is_static { "static" } else { "dynamic" };
        let mut detail = shown(called.as_bytes());
        if first.id != program.id {
            detail = format!("{detail}, a script for {}", program.shown());
        } else if detail != program.shown() {
            detail = format!("{detail} is {}", program.shown());
        }
        self.findings.push(Finding::ok(name, format!("{detail} ({linked}, {})", elf.machine.shown())));
        self.findings.extend(machine(view, program, elf.machine));
        let Some(path) = &elf.interpreter else { return };
        match loader(view, path, elf.machine) {
            Ok(loader) => {
                self.link(&loader, LinkKind::Loader);
                self.findings.push(Finding::ok("loader", format!("{} is there", shown(path))));
                self.findings.push(needed(program, &libraries::load(view, program, elf)));
            }
            Err(why) => {
                let detail = format!("{} needs the loader {}: {why}", program.shown(), shown(path));
                let remedy = if path.windows(4).any(|part| part == b"musl") {
                    "install musl, or a build of the program for the image's C library"
                } else {
                    "install the C library that it was built for, or use a static build of it"
                };
                self.findings.push(Finding::will_not_boot("loader", detail, remedy));
            }
        }
    }
}

/// Why a dynamic loader does not load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLoader {
    #[error("{0}")]
    Lost(Lost),
    #[error("it is no file")]
    NoFile,
    #[error("it is no loader")]
    NoElf,
    #[error("it is for {0}")]
    Foreign(String),
}

/// The loader at a path, when it loads programs of this processor.
pub(super) fn loader(view: &View<'_>, path: &[u8], machine: Machine) -> Result<Found, NoLoader> {
    // The kernel takes the path as it is, from where the program runs.
    let found = super::lookup::resolve(view.tree, view.working_dir(), path).map_err(NoLoader::Lost)?;
    if !is_file(view.node(found.id)) {
        return Err(NoLoader::NoFile);
    }
    match view.facts.head(found.id) {
        Some(Head::Elf(elf)) if elf.machine != machine => Err(NoLoader::Foreign(elf.machine.shown())),
        Some(Head::Elf(_)) | None => Ok(found),
        Some(_) => Err(NoLoader::NoElf),
    }
}

fn machine(view: &View<'_>, program: &Found, machine: Machine) -> Option<Finding> {
    let (path, found) = (program.shown(), machine.shown());
    let wanted = view.image.architecture.as_str();
    if found == wanted || wanted.is_empty() && found == view.host {
        return Some(Finding::ok("program_architecture", format!("{path} is for {found}")));
    }
    if found == view.host {
        let detail = format!("{path} is for {found}, and the image says {wanted:?}");
        let remedy = "build the image for the processor of its programs";
        return Some(Finding::warning("program_architecture", detail, remedy));
    }
    // A kernel for 64 bits runs programs of 32 bits where it was built to.
    if (wanted, found.as_str()) == ("amd64", "386") || (wanted, found.as_str()) == ("arm64", "arm") {
        let detail =
            format!("{path} is for {found}: it runs where the guest's kernel takes programs of 32 bits");
        let remedy = "start a program of 64 bits";
        return Some(Finding::warning("program_architecture", detail, remedy));
    }
    let detail = format!("{path} is for {found}, and the image is for {wanted:?}");
    Some(Finding::will_not_boot("program_architecture", detail, "install a build for the image's processor"))
}

fn needed(program: &Found, libraries: &Libraries) -> Finding {
    if !libraries.missing.is_empty() {
        let detail = format!("not found: {}", libraries.missing.few());
        let remedy = "install them, or set LD_LIBRARY_PATH in the image when they are elsewhere";
        return Finding::warning("libraries", detail, remedy).paths(&libraries.missing);
    }
    let detail = match libraries.found {
        0 => format!("{} needs no libraries", program.shown()),
        1 => format!("{} needs 1 library, which is there", program.shown()),
        found => format!("{} needs {found} libraries, all there", program.shown()),
    };
    if libraries.partly {
        let remedy = "try whether it starts";
        return Finding::warning(
            "libraries",
            format!("{detail}; not all of them could be looked at"),
            remedy,
        );
    }
    Finding::ok("libraries", detail)
}

/// Programs that only ever work as the first process.
fn init_system(view: &View<'_>, chain: &[Link]) -> Option<Finding> {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let started = chain.iter().find(|link| {
        matches!(
            last(&link.path).as_str(),
            "systemd" | "openrc-init" | "runit-init" | "s6-svscan" | "upstart"
        )
    });
    let called = words(view).next().map(last);
    let overlay = called.as_deref() == Some("init") && view.folder("/package/admin/s6-overlay").is_some();
    let what = match started {
        Some(link) => link.path.clone(),
        None if overlay => "s6-overlay".to_owned(),
        None => return Some(Finding::ok("init_system", "what starts is no init system")),
    };
    let detail =
        format!("what starts is {what}, which wants to be process 1; in a microVM the guest agent is that");
    Some(Finding::warning("init_system", detail, "start the workspace's program itself"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["/usr/bin/tini", "--", "/bin/a", "b"], Some("/bin/a"))]
    #[case(&["tini", "-g", "-e", "143", "a"], Some("a"))]
    #[case(&["dumb-init", "--rewrite", "15:3", "a"], Some("a"))]
    #[case(&["tini", "-s"], None)]
    #[case(&["sh", "-c", "a"], None)]
    #[case(&[], None)]
    fn small_inits_start_another_program(#[case] words: &[&str], #[case] program: Option<&str>) {
        assert_eq!(wrapped(words), program);
    }
}
