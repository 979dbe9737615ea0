//! Whether an image boots, and what it is like, before anybody starts it.
//!
//! ```text
//!   names of all layers ──► one tree ──► which files matter: what starts, programs, libraries, a few texts
//!   layers once more    ──► the heads of those ──► checks ──► findings ──► one verdict
//! ```
//!
//! Nothing of the image is run, and nothing is written. What is held beside the tree is bounded: a few bytes of every
//! program and library, of at most 200 000 of them, and 17 MiB of the one that is being read.
//!
//! The names of findings are stable; more may come. Those with a star are there only when they apply.
//!
//! ```text
//!   may say "will not boot"  os, architecture, file_system, program, wrapped_program*, interpreter*, loader*,
//!                            program_architecture*, user, working_directory, mount_points
//!   may say "warning"        the same, and libraries*, arguments*, init_system*, accounts, home, workspace, shell,
//!                            certificates, resolver, time_zones, temporary_folder, ports, health_check, volumes,
//!                            stop_signal, secrets, executables, foreign_executables, left_out*, setuid,
//!                            capabilities, world_writable, secret_files, devices, names, large_files
//!   only tell                lost_and_found
//! ```

mod accounts;
mod checks;
mod elf;
mod environment;
mod facts;
mod finding;
mod libraries;
mod lookup;
mod report;
mod script;
mod start;
mod survey;
mod view;
mod window;

use self::accounts::Accounts;
use self::environment::Environment;
use self::facts::Facts;
pub use self::finding::{Finding, Level, MOST_PATHS};
pub use self::report::{Distribution, Link, LinkKind, Report, SCHEMA, Starts, User, Verdict};
use self::survey::Survey;
use self::view::View;
use crate::build::{BuildError, affordable, tree};
use crate::ext4::Size;
use crate::source::{Image, host_architecture};
use crate::{Limits, NodeId, NodeKind, Tree};

/// Looks at an image. It takes as long as reading it twice; call it where waiting is no harm.
///
/// # Errors
/// When the image cannot be read, is damaged, or asks for more than `limits`; what speaks against booting it is no error
/// but a finding.
pub fn inspect(image: &Image, limits: &Limits) -> Result<Report, BuildError> {
    let config = &image.config.config;
    let tree = tree(image, limits)?;
    // Whether it becomes a file system is found out by laying it out.
    affordable(&tree, Size::Fitting, limits)?;
    let environment = Environment::new(config);
    let path = view::path(&tree, &environment, config);
    let texts = Texts::of(&tree);
    // Who runs it is known only when the texts are read, and what it runs does not depend on that but for the mode.
    let root = User { uid: Some(0), ..User::default() };
    let words: Vec<&str> = config.entrypoint.iter().chain(&config.cmd).map(String::as_str).collect();
    let called = words.first().copied().into_iter().chain(start::wrapped(&words));
    let programs: Vec<NodeId> = called
        .filter_map(|name| view::find_program(&tree, &path, config, &root, name.as_bytes()).ok())
        .map(|found| found.id)
        .collect();
    let facts = Facts::gather(image, &tree, limits, &programs, &texts.all(&tree))?;
    let text = |id: Option<NodeId>| id.and_then(|id| facts.text(id));
    let accounts = Accounts { passwd: text(texts.passwd), group: text(texts.group) };
    let (user, no_user) = accounts.user(&config.user);
    let view = View {
        image: &image.config,
        tree: &tree,
        facts: &facts,
        environment: &environment,
        path: &path,
        user: &user,
        host: host_architecture(),
    };
    let survey = Survey::of(&view);
    let file = checks::file_system::size(&tree);
    let start = start::judge(&view);
    let mut findings = checks::platform::all(&view);
    findings.push(checks::file_system::finding(&file));
    findings.extend(start.findings);
    findings.extend(checks::arguments::finding(&view));
    findings.extend(checks::people::all(&view, no_user.as_ref(), accounts));
    findings.extend(checks::system::all(&view, start.machine));
    findings.extend(checks::settings::all(&view));
    findings.extend(survey.findings(&view));
    Ok(Report {
        schema: SCHEMA,
        verdict: Verdict::of(&findings),
        image: image.id,
        architecture: image.config.architecture.clone(),
        os: image.config.os.clone(),
        distribution: text(texts.release).map(distribution),
        starts: Starts {
            entrypoint: config.entrypoint.clone(),
            command: config.cmd.clone(),
            chain: start.chain,
        },
        working_dir: view::working_dir(config).to_owned(),
        ports: config.exposed_ports.clone(),
        health_check: config.healthcheck.clone(),
        volumes: config.volumes.clone(),
        stop_signal: checks::settings::stop_signal(config).to_owned(),
        environment: environment.names().map(str::to_owned).collect(),
        layers: image.layers(),
        content_bytes: survey.content_bytes,
        inodes: survey.inodes,
        file_bytes: file.ok(),
        findings,
        user,
    })
}

/// The small files whose content is read.
#[derive(Clone, Copy, Debug)]
struct Texts {
    passwd: Option<NodeId>,
    group: Option<NodeId>,
    release: Option<NodeId>,
}

impl Texts {
    fn of(tree: &Tree) -> Self {
        let file = |path: &str| {
            let found = lookup::resolve(tree, b"", path.as_bytes()).ok()?;
            matches!(tree.node(found.id).kind, NodeKind::File(_)).then_some(found.id)
        };
        Self {
            passwd: file("/etc/passwd"),
            group: file("/etc/group"),
            // os-release(5): the second where the first is not there.
            release: file("/etc/os-release").or_else(|| file("/usr/lib/os-release")),
        }
    }

    fn all(self, tree: &Tree) -> Vec<NodeId> {
        let mut all = libraries::texts(tree);
        all.extend([self.passwd, self.group, self.release].into_iter().flatten());
        all
    }
}

/// What `os-release(5)` says: assignments as in a shell, without anything that would have to be run.
fn distribution(text: &[u8]) -> Distribution {
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        // The last assignment counts.
        let value = lines.rev().find(|&(key, _)| key == name).map_or("", |(_, value)| value.trim());
        let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        let plain = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        crate::path::shown(plain.as_bytes())
    };
    Distribution { id: field("ID"), version: field("VERSION_ID"), name: field("PRETTY_NAME") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        let text =
            b"# a comment\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\nx\n";
        let expected = Distribution {
            id: "debian".into(),
            version: "12".into(),
            name: "Debian GNU/Linux 12 (bookworm)".into(),
        };
        assert_eq!(distribution(text), expected);
        assert_eq!(distribution(b"\xff\x00"), Distribution::default());
        assert_eq!(distribution(b"ID=\"\x1b[2J\"").id, "\\u{1b}[2J");
    }
}
