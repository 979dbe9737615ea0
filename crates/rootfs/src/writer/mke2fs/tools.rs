//! The programs of e2fsprogs, without anything of this host's configuration.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Digest, ext4};

/// What the file system can do: the same as that of the other writer.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,\
                        huge_file,dir_nlink,extra_isize,metadata_csum";

/// The name of its input for a program. On Linux that is the file that it is, whatever has the file's name by now, or nothing.
const INPUT: &str = "/dev/fd/0";

/// Makes a file system of a folder.
pub(super) fn mke2fs(file: &File, root: &Path, size: u64, inodes: u32, id: Digest) -> io::Result<()> {
    let hex = id.hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let uuid = format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32));
    let extended = format!(
        "hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,no_copy_xattrs"
    );
    let mut command = tool("mke2fs", file)?;
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", FEATURES]);
    command.args(["-N", &inodes.to_string(), "-U", &uuid, "-E", &extended, "-d"]).arg(root);
    command.arg(INPUT).arg((size / ext4::BLOCK).to_string());
    run(command, "mke2fs").map(|_| ())
}

/// Runs commands on a file system.
pub(super) fn debugfs(file: &File, commands: &Path) -> io::Result<()> {
    let mut command = tool("debugfs", file)?;
    command.args(["-w", "-f"]).arg(commands).arg(INPUT);
    let complaints = run(command, "debugfs")?;
    // It goes on after an error, and ends well all the same.
    match complaints.lines().find(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()) {
        Some(complaint) => Err(io::Error::other(format!("debugfs: {complaint}"))),
        None => Ok(()),
    }
}

/// A program that has this file, and no other, for its input, and ends with this process.
fn tool(name: &str, file: &File) -> io::Result<Command> {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("E2FSPROGS_FAKE_TIME", ext4::MADE.to_string())
        .env("SOURCE_DATE_EPOCH", ext4::MADE.to_string())
        .stdin(file.try_clone()?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    end_with_us(&mut command);
    Ok(command)
}

/// Lets the kernel kill a program when this process dies, however that happens: `PR_SET_PDEATHSIG` of prctl(2). It counts
/// the thread that starts the program, which is the one that waits for its end.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let us = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Before that nobody would have been told.
        if getppid() == Some(us) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    #[expect(unsafe_code, reason = "there is no other way to run something between fork and exec")]
    // SAFETY: the closure makes system calls, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare)
    };
}

/// Other systems have no such thing; the file that a program may still write is nobody's by then.
#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

/// Runs a program to its end, and returns what it complains of.
fn run(mut command: Command, name: &str) -> io::Result<String> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!("the program {name} is not there; install the package e2fsprogs"),
        ),
        _ => error,
    })?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let why = complaints.trim();
        return Err(io::Error::other(format!("{name} failed ({}): {why}", output.status)));
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_name_of_the_file_by_now_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        let (path, root) = (place.path().join("rootfs.ext4"), place.path().join("root"));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("name"), "content").unwrap();
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody's").unwrap();
        mke2fs(&file, &root, 16 << 20, 1024, Digest::of(b"")).unwrap();
        let commands = place.path().join("commands");
        std::fs::write(&commands, "sif name mode 0100640\n").unwrap();
        debugfs(&file, &commands).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
        let fs = mkext4::reader::Fs::open(file).unwrap();
        assert!(fs.read_dir(2).unwrap().iter().any(|entry| entry.name == b"name"));
    }
}
