//! What processes have of files in their memory.

use std::fs;
use std::io;

/// How a process maps a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What it may do there, and whether what it writes is its own: `rw-p` (`proc_pid_maps(5)`).
    pub permissions: String,
    /// The file's own number, which tells whether two processes map the same.
    pub inode: String,
}

impl Mapping {
    /// That of the first file whose path, as `/proc/{pid}/maps` has it, contains this.
    ///
    /// # Errors
    /// When the process maps no such file, or cannot be looked at.
    pub fn of(pid: i32, path: &str) -> io::Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        // Address, permissions, offset, device, inode, path.
        let mut lines = maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|line| line.get(5).is_some_and(|found| found.contains(path)));
        match line.as_deref() {
            Some([_, permissions, _, _, inode, ..]) => {
                Ok(Self { permissions: (*permissions).to_owned(), inode: (*inode).to_owned() })
            }
            _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} maps no {path}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_mapped_and_not_written() {
        use std::os::unix::fs::MetadataExt as _;
        let this = std::env::current_exe().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let mapping = Mapping::of(pid, this.to_str().unwrap()).unwrap();
        assert_eq!(mapping.permissions, "r--p");
        assert_eq!(mapping.inode, fs::metadata(this).unwrap().ino().to_string());
        assert_eq!(Mapping::of(pid, "/no/such").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
