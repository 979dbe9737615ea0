//! A file that keeps the newest of what is written to it and does not grow without bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::vmm::LogFile;

/// A [`LogFile`] that is written.
///
/// The newest part is `path`; when it is full it becomes `path.1`, that `path.2`, and so on; the oldest goes. So at least
/// `(files - 1) × max_bytes` of the newest is there, and at most `files × max_bytes` in all; with one file, nothing at least.
#[derive(Debug)]
pub(super) struct Log {
    spec: LogFile,
    file: File,
    size: u64,
}

impl Log {
    /// Opens it; what is there stays.
    pub(super) fn open(spec: LogFile) -> io::Result<Self> {
        let file = open(&spec, false)?;
        let size = file.metadata()?.len();
        Ok(Self { spec, file, size })
    }

    /// Adds some bytes. What cannot be written, on a full disk, is lost: a VM is not to stop for its log.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.spec.max_bytes.saturating_sub(self.size)).unwrap_or(usize::MAX);
            if room == 0 {
                if self.rotate().is_err() {
                    return;
                }
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.file.write_all(now).is_err() {
                // Part of it may be there.
                self.size = self.file.metadata().map_or(self.spec.max_bytes, |data| data.len());
                return;
            }
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.spec.files).rev() {
            // A part that is not there yet is not moved.
            drop(fs::rename(self.part(number - 1), self.part(number)));
        }
        self.file = open(&self.spec, true)?;
        self.size = 0;
        Ok(())
    }

    fn part(&self, number: u32) -> PathBuf {
        let mut path = self.spec.path.clone().into_os_string();
        if number > 0 {
            path.push(format!(".{number}"));
        }
        path.into()
    }
}

fn open(spec: &LogFile, empty: bool) -> io::Result<File> {
    let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600).custom_flags(no_link);
    if empty {
        options.truncate(true)
    } else {
        options.append(true)
    };
    options
        .open(&spec.path)
        .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", spec.path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &tempfile::TempDir, files: u32) -> Log {
        Log::open(LogFile { path: folder.path().join("console.log"), max_bytes: 4096, files }).unwrap()
    }

    fn parts(folder: &tempfile::TempDir) -> Vec<(String, u64)> {
        let mut parts: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        parts.sort();
        parts
    }

    #[test]
    fn a_flood_leaves_bounded_files_and_the_newest_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder, 3);
        for number in 0..100_000 {
            log.write(format!("line {number}\n").as_bytes());
        }
        let parts = parts(&folder);
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert!(parts.iter().all(|(_, size)| *size <= 4096), "{parts:?}");
        let text: String = ["console.log.2", "console.log.1", "console.log"]
            .map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
            .concat();
        assert!(text.ends_with("line 99998\nline 99999\n"));
        let numbers: Vec<u32> =
            text.lines().skip(1).map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(text.len() > 2 * 4096);
    }

    #[test]
    fn one_write_larger_than_everything_is_cut_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(&folder, 2);
        let bytes: Vec<u8> = (0..50_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
        log.write(&bytes);
        let text = [
            fs::read(folder.path().join("console.log.1")).unwrap(),
            fs::read(folder.path().join("console.log")).unwrap(),
        ];
        assert!(bytes.ends_with(&text.concat()));
    }

    #[test]
    fn a_second_start_continues_the_file() {
        let folder = tempfile::tempdir().unwrap();
        log(&folder, 1).write(b"one\n");
        log(&folder, 1).write(b"two\n");
        assert_eq!(fs::read(folder.path().join("console.log")).unwrap(), b"one\ntwo\n");
        let mut one = log(&folder, 1);
        one.write(&[b'x'; 5000]);
        assert_eq!(parts(&folder), [("console.log".to_owned(), 5008 - 4096)]);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(Log::open(LogFile { path, max_bytes: 4096, files: 1 }).is_err());
        assert_eq!(parts(&folder).len(), 1);
    }
}
