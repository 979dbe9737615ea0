//! The records of workshops and seats: the whole state of the service.
//!
//! ```text
//!             ┌─────────── undone ──────────┐
//!             ▼                             │
//!   (nothing) ──► creating ──► started ◄──► starting      the seat's VM has ended, and is started again
//!                                 │
//!        ▲                        ▼
//!        └──── removed ───── destroying ──► kept          only the workspace is there
//! ```
//!
//! A record is written before anything that it names is made, and removed after all of that is gone. It is replaced as a
//! whole: written beside, synced, renamed, the folder synced. So whoever finds one knows what may be there, whenever the
//! service or the host ended.
//!
//! No secret is in a record: of the values that a caller gave only digests are (see [`wish`]).

mod parts;
mod seat;
pub(crate) mod wish;
mod workshop;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::parts::Mac;
pub(crate) use self::seat::{Address, Made, Phase, Restored, SeatRecord};
pub(crate) use self::wish::Wish;
pub(crate) use self::workshop::{Wiring, WorkshopRecord};

/// What a seat's record is called until it is whole.
pub(crate) const UNFINISHED_SEAT: &str = ".seat.json.new";

/// A record that says nothing to this version. What it is about is left alone until somebody destroys it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A newer version of the service wrote it.
    #[error(
        "its record was written by a newer version of this service (schema {found}, and {known} is known)"
    )]
    Newer {
        /// Its number.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// It is damaged.
    #[error("its record is damaged ({0})")]
    Damaged(String),
    /// The disk does not give it.
    #[error("its record cannot be read ({0})")]
    Io(String),
}

/// Replaces a record, on the disk when this returns.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let (Some(folder), Some(new)) = (path.parent(), unfinished(path)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    let write = || -> io::Result<()> {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync(folder)
    };
    write().inspect_err(|_| {
        // It is the first error that is told.
        let _ = fs::remove_file(&new);
    })
}

/// Removes a record, gone from the disk when this returns, with what a killed service left of one that it wrote. That it is not there is success.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let is_absent =
        |why: &io::Error| matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync)?,
        Err(why) if is_absent(&why) => {}
        Err(why) => return Err(why),
    }
    match unfinished(path).map_or(Ok(()), fs::remove_file) {
        Err(why) if !is_absent(&why) => Err(why),
        _ => Ok(()),
    }
}

/// What a record is called until it is whole.
fn unfinished(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(format!(".{}.new", path.file_name()?.to_string_lossy())))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A record; nothing when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>, Unreadable> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(why) => return Err(Unreadable::Io(why.to_string())),
    };
    let damaged = |why: serde_json::Error| Unreadable::Damaged(why.to_string());
    // First of all: what else is in another version is not known.
    let Version { schema: found } = serde_json::from_slice(&text).map_err(damaged)?;
    match found {
        _ if found > known => Err(Unreadable::Newer { found, known }),
        0 => Err(Unreadable::Damaged("its schema is 0".into())),
        _ => serde_json::from_slice(&text).map(Some).map_err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Example {
        schema: u32,
        text: String,
    }

    #[test]
    fn a_record_is_whole_or_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seat.json");
        assert_eq!(read::<Example>(&path, 1), Ok(None));
        let one = Example { schema: 1, text: "one".into() };
        write(&path, &one).unwrap();
        assert_eq!(read(&path, 1), Ok(Some(one)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // What a service that was killed left beside it.
        fs::write(folder.path().join(UNFINISHED_SEAT), "{\"sch").unwrap();
        assert_eq!(read::<Example>(&path, 1).unwrap().unwrap().text, "one");
        write(&path, &Example { schema: 1, text: "two".into() }).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[test]
    fn a_newer_one_is_told_from_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seat.json");
        fs::write(&path, r#"{"schema": 2, "entirely": "different"}"#).unwrap();
        assert_eq!(read::<Example>(&path, 1), Err(Unreadable::Newer { found: 2, known: 1 }));
        for damaged in
            ["", "{", "null", r#"{"schema": "1"}"#, r#"{"schema": 1}"#, r#"{"schema": 0, "text": ""}"#]
        {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(read::<Example>(&path, 1), Err(Unreadable::Damaged(_))), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn no_truncated_record_is_taken_for_a_whole_one(text in "\\PC{0,40}", cut in 0.0..1.0_f64) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("seat.json");
            write(&path, &Example { schema: 1, text }).unwrap();
            let whole = fs::read(&path).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
            let end = (cut * (whole.len() - 2) as f64) as usize;
            fs::write(&path, &whole[..end]).unwrap();
            let is_damaged = matches!(read::<Example>(&path, 1), Err(Unreadable::Damaged(_)));
            prop_assert!(is_damaged);
        }
    }
}
