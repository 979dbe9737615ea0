//! Programs as a compiler makes them, for which nobody thought of this test.

use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs::inspect::{Level, LinkKind};

use super::changed;
use super::draft::Draft;

/// A program of the C compiler; nothing, with a message, where there is no compiler, or none that can do this.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn compiled(arguments: &[&str]) -> Option<Vec<u8>> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: programs of this system are no ELF files");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    match Command::new("cc").args(arguments).arg("-o").arg(&program).arg(&source).output() {
        Ok(output) if output.status.success() => Some(std::fs::read(program).unwrap()),
        outcome => {
            eprintln!("skipped: cc {arguments:?} does not work here: {outcome:?}");
            None
        }
    }
}

/// A file of the host, where it really is, for the image to have at the same path.
fn copied(draft: &mut Draft, path: &Path) {
    let content = std::fs::read(path).unwrap();
    draft.file(path.to_str().unwrap().trim_start_matches('/'), 0o755, &content);
}

fn library(name: &str) -> PathBuf {
    let output = Command::new("cc").arg(format!("-print-file-name={name}")).output().unwrap();
    std::fs::canonicalize(String::from_utf8(output.stdout).unwrap().trim()).unwrap()
}

fn with(draft: &mut Draft, program: &[u8]) {
    draft.file("bin/start", 0o755, program);
}

#[test]
fn a_static_program_needs_nothing() {
    let Some(program) = compiled(&["-static"]) else { return };
    let (finding, report) = changed("program", |draft| with(draft, &program));
    assert_eq!(finding.level, Level::Ok, "{}", finding.detail);
    assert_eq!(report.starts.chain[0].kind, LinkKind::Static);
    assert!(report.finding("loader").is_none());
}

#[test]
fn a_dynamic_program_needs_its_loader_and_libraries() {
    let Some(program) = compiled(&[]) else { return };
    let (finding, _) = changed("loader", |draft| with(draft, &program));
    assert_eq!(finding.level, Level::WillNotBoot);
    // The path of the loader is in the message.
    let loader = finding.detail.split("the loader ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    let with_loader = |draft: &mut Draft| {
        draft.file("bin/start", 0o755, &program);
        let content = std::fs::read(&loader).unwrap();
        draft.file(loader.trim_start_matches('/'), 0o755, &content);
    };
    let (finding, report) = changed("libraries", with_loader);
    assert_eq!(report.finding("loader").unwrap().level, Level::Ok);
    let needs_libc = finding.paths.iter().any(|path| path.starts_with("libc.so"));
    assert!(needs_libc || loader.contains("musl"), "{}", finding.detail);
    let (finding, _) = changed("libraries", |draft| {
        with_loader(draft);
        let libc = library("libc.so.6");
        copied(draft, &libc);
    });
    assert_eq!(finding.level, Level::Ok, "{}", finding.detail);
}

#[test]
fn a_program_that_was_cut_off_is_damaged() {
    let Some(program) = compiled(&[]) else { return };
    let (finding, _) = changed("program", |draft| with(draft, &program[..100]));
    assert_eq!(finding.level, Level::WillNotBoot);
    assert!(finding.detail.contains("damaged"), "{}", finding.detail);
}
