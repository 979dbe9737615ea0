//! What was begun for which seat: the configuration with which ADD was run, and its result, as the specification asks (section 3).
//!
//! ```text
//!   {folder}/demo.3.json    written before the namespace is made and ADD is run, removed when DEL is through
//!   {folder}/demo.3.lock    held by whoever works on the seat, and by every plugin that runs for it, whose standard input it is
//! ```
//!
//! An entry is replaced as a whole. It names what a killed service left, and DEL gets from it what ADD got, whatever the operator wrote since.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seats::{SeatBound, SeatRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::list::NetworkList;
use super::result::AddResult;
use super::version::SpecVersion;

/// Between two looks at a lock that is held.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// A seat's.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) list: NetworkList,
    pub(super) version: SpecVersion,
    /// `CNI_CONTAINERID`.
    pub(super) container: String,
    /// What the runtime offered to those plugins that want it.
    pub(super) capabilities: Map<String, Value>,
    /// The seat's namespace, once it is made.
    pub(super) namespace: Option<NamespaceId>,
    /// What the last plugin answered; nothing while that is not known.
    pub(super) result: Option<AddResult>,
}

/// Which namespace it was: the kernel's number, in which run of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamespaceId {
    pub(super) inode: u64,
    pub(super) boot: String,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    schema: u32,
    network: Value,
    version: String,
    container: String,
    #[serde(default)]
    capabilities: Map<String, Value>,
    #[serde(default)]
    namespace: Option<NamespaceId>,
    #[serde(default)]
    result: Option<Value>,
}

const SCHEMA: u32 = 1;

/// The turn on one seat.
#[derive(Debug)]
pub(super) struct Turn {
    file: File,
    path: PathBuf,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Waits for whoever works on a seat, plugins of a killed service included.
    pub(super) async fn turn(&self, key: &str, limit: Duration) -> io::Result<Turn> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{key}.lock"));
        let wait = async {
            loop {
                let file = File::options()
                    .create(true)
                    .truncate(false)
                    .read(true)
                    .write(true)
                    .mode(0o600)
                    .open(&path)?;
                match file.try_lock() {
                    // Whoever had it may have removed it.
                    Ok(())
                        if fs::metadata(&path)
                            .is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino())) =>
                    {
                        return Ok(Turn { file, path: path.clone() });
                    }
                    Ok(()) | Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                    Err(TryLockError::Error(why)) => return Err(why),
                }
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
            let why =
                format!("{} is held: a plugin of another service may still run for the seat", path.display());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
    }

    /// A seat's entry; nothing when there is none.
    pub(super) fn read(&self, key: &str) -> io::Result<Option<Entry>> {
        let path = self.path(key);
        let text = match fs::read(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Entry::parse(&text).map(Some).map_err(|why| {
            let why = format!(
                "{} is damaged: {why}; remove it, and what the network's plugins keep of the seat",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }

    pub(super) fn write(&self, key: &str, entry: &Entry) -> io::Result<()> {
        let new = self.folder.join(format!(".{key}.new"));
        let written = Written {
            schema: SCHEMA,
            network: entry.list.to_value(),
            version: entry.version.to_string(),
            container: entry.container.clone(),
            capabilities: entry.capabilities.clone(),
            namespace: entry.namespace.clone(),
            result: entry.result.as_ref().map(|result| result.raw().clone()),
        };
        let text = serde_json::to_vec_pretty(&written)?;
        let write = || -> io::Result<()> {
            let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, self.path(key))?;
            File::open(&self.folder)?.sync_all()
        };
        // It is the first error that is told.
        write().inspect_err(|_| drop(fs::remove_file(&new)))
    }

    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    /// The seats that have an entry.
    pub(super) fn seats(&self) -> io::Result<Vec<SeatRef>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            found.extend(name.and_then(seat_of));
        }
        found.sort();
        Ok(found)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

/// What a seat's files are called.
pub(super) fn key(seat: &SeatRef) -> String {
    format!("{}.{}", seat.workshop, seat.seat)
}

/// Whose files are called so.
pub(super) fn seat_of(key: &str) -> Option<SeatRef> {
    let (workshop, number) = key.split_once('.')?;
    Some(SeatRef::new(workshop.parse().ok()?, SeatBound::widest().parse(number).ok()?))
}

impl Entry {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(text).map_err(|why| why.to_string())?;
        if written.schema != SCHEMA {
            return Err(format!("its schema is {}, and {SCHEMA} is known", written.schema));
        }
        Ok(Self {
            list: NetworkList::from_value(&written.network).map_err(|why| why.to_string())?,
            version: written.version.parse().map_err(|()| format!("its version is {}", written.version))?,
            container: written.container,
            capabilities: written.capabilities,
            namespace: written.namespace,
            result: written.result.map(AddResult::from_value).transpose().map_err(|why| why.to_string())?,
        })
    }
}

impl Turn {
    /// The standard input of a plugin that says this. The lock is the open file's, which the plugin has then as well.
    pub(super) fn input(&mut self, request: &[u8]) -> io::Result<File> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(request)?;
        self.file.rewind()?;
        self.file.try_clone()
    }

    /// Removes the file, when nothing is left of the seat.
    pub(super) fn over(self) {
        // One that stays is no more than a file of a few bytes.
        drop(self.file.set_len(0));
        drop(fs::remove_file(&self.path));
    }
}

/// The run of the host.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Entry {
        let list = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "bridge", "x": [1, {"y": null}]}]});
        Entry {
            list: NetworkList::from_value(&list).unwrap(),
            version: SpecVersion::V1_0_0,
            container: "clarateach.0.abc.1".into(),
            capabilities: Map::new(),
            namespace: Some(NamespaceId { inode: 4_026_532_000, boot: "b".into() }),
            result: Some(AddResult::from_value(json!({"ips": [], "unknown": true})).unwrap()),
        }
    }

    #[tokio::test]
    async fn an_entry_is_read_back_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cni"));
        assert!(cache.seats().unwrap().is_empty() && cache.read("abc.1").unwrap().is_none());
        let turn = cache.turn("abc.1", Duration::from_secs(60)).await.unwrap();
        cache.write("abc.1", &entry()).unwrap();
        let read = cache.read("abc.1").unwrap().unwrap();
        assert_eq!((read.list.plugins(), read.version), (entry().list.plugins(), SpecVersion::V1_0_0));
        assert_eq!((read.result, read.namespace), (entry().result, entry().namespace));
        assert_eq!(cache.seats().unwrap(), [seat_of("abc.1").unwrap()]);
        assert_eq!(key(&cache.seats().unwrap()[0]), "abc.1");
        cache.remove("abc.1").unwrap();
        cache.remove("abc.1").unwrap();
        turn.over();
        assert_eq!(fs::read_dir(folder.path().join("cni")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_turn_is_held_by_the_program_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let mut turn = cache.turn("abc.1", Duration::from_secs(60)).await.unwrap();
        let input = turn.input(b"{}").unwrap();
        let mut plugin = std::process::Command::new("sleep").arg("1000").stdin(input).spawn().unwrap();
        // The service is killed, the plugin is not.
        drop(turn);
        let why = cache.turn("abc.1", Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::TimedOut);
        plugin.kill().unwrap();
        plugin.wait().unwrap();
        cache.turn("abc.1", Duration::from_secs(60)).await.unwrap().over();
    }

    #[test]
    fn a_damaged_entry_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        for text in [
            "",
            "{",
            r#"{"schema": 2}"#,
            r#"{"schema": 1, "network": {}, "version": "1.0.0", "container": "c"}"#,
        ] {
            fs::write(folder.path().join("abc.1.json"), text).unwrap();
            let why = cache.read("abc.1").unwrap_err();
            assert!(why.to_string().contains("abc.1.json is damaged"), "{why}");
        }
    }
}
