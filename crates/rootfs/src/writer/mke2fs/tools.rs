//! The programs of e2fsprogs, without anything of this host's configuration.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Digest, ext4};

/// What the file system can do: the same as that of the other writer.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,\
                        huge_file,dir_nlink,extra_isize,metadata_csum";

/// Makes a file system of a folder.
pub(super) fn mke2fs(file: &Path, root: &Path, size: u64, inodes: u32, id: Digest) -> io::Result<()> {
    let hex = id.hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let uuid = format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32));
    let extended = format!(
        "hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,no_copy_xattrs"
    );
    let mut command = tool("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", FEATURES]);
    command.args(["-N", &inodes.to_string(), "-U", &uuid, "-E", &extended, "-d"]).arg(root);
    command.arg(file).arg((size / ext4::BLOCK).to_string());
    run(command, "mke2fs").map(|_| ())
}

/// Runs commands on a file system.
pub(super) fn debugfs(file: &Path, commands: &Path) -> io::Result<()> {
    let mut command = tool("debugfs");
    command.args(["-w", "-f"]).arg(commands).arg(file);
    let complaints = run(command, "debugfs")?;
    // It goes on after an error, and ends well all the same.
    match complaints.lines().find(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()) {
        Some(complaint) => Err(io::Error::other(format!("debugfs: {complaint}"))),
        None => Ok(()),
    }
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("E2FSPROGS_FAKE_TIME", ext4::MADE.to_string())
        .env("SOURCE_DATE_EPOCH", ext4::MADE.to_string())
        .stdin(Stdio::null());
    command
}

/// Runs a program to its end, and returns what it complains of.
fn run(mut command: Command, name: &str) -> io::Result<String> {
    command.stdout(Stdio::null());
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
