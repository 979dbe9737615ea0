//! Finding a program in the seat, and saying in words why it cannot begin.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::elf::{Program, look};

/// The file of a program: one with `/` is below the folder, any other is looked for in `PATH`.
pub(super) fn find(program: &str, path: &str, folder: &Path) -> Result<PathBuf, String> {
    if program.is_empty() {
        return Err("the program has no name".into());
    }
    if program.contains('/') {
        let file = folder.join(program);
        return match unusable(&file).or_else(|| foreign(&file)) {
            None => Ok(file),
            Some(why) => Err(why),
        };
    }
    let mut first = None;
    for place in path.split(':') {
        let file = folder.join(place).join(program);
        if !file.exists() {
            continue;
        }
        match unusable(&file).or_else(|| foreign(&file)) {
            None => return Ok(file),
            Some(why) => first = first.or(Some(why)),
        }
    }
    Err(first.unwrap_or_else(|| {
        format!("the program {program:?} is in none of the folders of PATH ({path}): is it in the image?")
    }))
}

/// Why nobody could run it.
fn unusable(file: &Path) -> Option<String> {
    let shown = file.display();
    match fs::metadata(file) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Some(format!("the program {shown} is not in the image"))
        }
        Err(why) => Some(format!("the program {shown} cannot be looked at: {why}")),
        Ok(found) if !found.is_file() => Some(format!("{shown} is no file, and cannot be run")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Some(format!("the program {shown} may not be run by anybody: chmod +x it in the image"))
        }
        Ok(_) => None,
    }
}

/// Why the kernel would not take it. Asked before it is started: what the kernel does not know, the C library gives to a shell,
/// which would say something that nobody understands.
fn foreign(file: &Path) -> Option<String> {
    let program = File::open(file).and_then(|mut file| look(&mut file)).ok()?;
    match program {
        Program::Elf { ours: false, .. } | Program::Neither => {
            Some(explain(file, &io::Error::from_raw_os_error(libc::ENOEXEC)))
        }
        Program::Elf { .. } | Program::Script(_) => None,
    }
}

/// Why the kernel did not take a program.
pub(crate) fn explain(file: &Path, why: &io::Error) -> String {
    let shown = file.display();
    let program = File::open(file).and_then(|mut file| look(&mut file)).unwrap_or(Program::Neither);
    match (why.raw_os_error(), program) {
        (_, Program::Elf { machine, ours: false, .. }) => {
            format!("the program {shown} is for {machine}, and this machine is {}", ours())
        }
        (Some(libc::ENOENT), Program::Script(interpreter)) => {
            format!("the program {shown} is run by {interpreter} (its first line), which is not in the image")
        }
        (Some(libc::ENOENT), Program::Elf { loader: Some(loader), .. }) => {
            format!("the program {shown} is loaded by {loader}, which is not in the image")
        }
        (Some(libc::ENOEXEC), _) => {
            format!("{shown} is no program that can be run: neither ELF nor a script that begins with #!")
        }
        (Some(libc::EACCES), _) => {
            format!("the program {shown} may not be run by the image's user: {why}")
        }
        _ => format!("the program {shown} cannot be run: {why}"),
    }
}

/// This machine's processor, in the words of images.
fn ours() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether it may work later: the machine has no room now.
pub(super) fn is_passing(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETXTBSY)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_does() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, mode) in [("plain", 0o644), ("sub/tool", 0o755), ("tool", 0o755)] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = format!("/nowhere:{}", at("sub").display());
        let find = |program: &str| find(program, &path, folder.path());
        assert_eq!(find("tool").unwrap(), at("sub/tool"));
        assert_eq!(find("./tool").unwrap(), at("./tool"));
        assert!(find("other").unwrap_err().contains("PATH (/nowhere:"));
        assert!(find("/missing").unwrap_err().contains("/missing is not in the image"));
        assert!(find("./plain").unwrap_err().contains("chmod +x"));
        assert!(find("./sub").unwrap_err().contains("is no file"));
        assert!(find("").is_err());
        fs::write(at("tool"), "echo without a first line\n").unwrap();
        assert!(find("./tool").unwrap_err().contains("neither ELF nor a script"));
    }

    #[test]
    fn what_the_kernel_refuses_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let explained = |content: &[u8], error: i32| {
            let file = folder.path().join("program");
            fs::write(&file, content).unwrap();
            explain(&file, &io::Error::from_raw_os_error(error))
        };
        assert!(explained(b"#!/opt/python\n", libc::ENOENT).contains("run by /opt/python"));
        assert!(explained(b"echo hello\n", libc::ENOEXEC).contains("#!"));
        let mut other = vec![0; 64];
        other[..6].copy_from_slice(b"\x7fELF\x02\x01");
        other[18] = 22;
        assert!(explained(&other, libc::ENOEXEC).contains("is for s390x"));
    }
}
