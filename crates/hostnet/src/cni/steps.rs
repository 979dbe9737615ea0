//! The steps of putting a seat on a network and of taking it off.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use seats::SeatRef;
use serde_json::Value;

use super::cache::{self, Entry, NamespaceId, Turn};
use super::error::CniError;
use super::exec::{self, Run};
use super::list::NetworkList;
use super::netns;
use super::result::AddResult;
use super::runner::{Attached, Inner};
use super::splice::{Inside, Likeness};
use super::version::SpecVersion;
use crate::names::IfName;

/// The interface that plugins make in a seat's namespace.
pub(super) const INTERFACE: &str = "eth0";

/// What a seat's things are called.
pub(super) struct At {
    pub(super) whom: String,
    pub(super) key: String,
    pub(super) container: String,
    pub(super) namespace: PathBuf,
    pub(super) tap: IfName,
}

impl Inner {
    pub(super) fn attachment(&self, seat: &SeatRef) -> At {
        let key = cache::key(seat);
        At {
            whom: format!("seat {seat}"),
            container: format!("clarateach.{}.{key}", self.options.instance),
            namespace: self.options.namespaces.join(&key),
            tap: self.options.instance.tap(seat),
            key,
        }
    }

    pub(super) async fn turn(&self, at: &At) -> Result<Turn, CniError> {
        let turn = self.cache.turn(&at.key, self.options.limit).await;
        turn.map_err(CniError::host(&at.whom, "waiting for its turn on the network"))
    }

    pub(super) fn note(&self, at: &At, entry: &Entry) -> Result<(), CniError> {
        let noted = self.cache.write(&at.key, entry);
        noted.map_err(CniError::host(&at.whom, "writing down what is known of its network"))
    }

    /// What was written down; nothing when nothing was begun.
    pub(super) fn noted(&self, at: &At) -> Result<Option<Entry>, CniError> {
        let read = self.cache.read(&at.key);
        read.map_err(CniError::host(&at.whom, "reading what is known of its network"))
    }

    /// A seat that is on the network already; nothing when it has to be put there anew.
    pub(super) async fn there(
        &self,
        at: &At,
        entry: &Entry,
        turn: &mut Turn,
        user: Option<u32>,
    ) -> Result<Option<Attached>, CniError> {
        let (Some(result), Some(namespace)) = (&entry.result, &entry.namespace) else { return Ok(None) };
        let failed = || CniError::host(&at.whom, "looking at its network namespace");
        if netns::number(&at.namespace).map_err(failed())? != Some(namespace.inode) {
            // A reboot takes namespaces away, and so does a service whose mounts are its own; with a VMM in it, it lives on.
            let same_run = cache::boot_id().map_err(failed())? == namespace.boot;
            if !same_run || !netns::revive(&at.namespace, namespace.inode).map_err(failed())? {
                return Ok(None);
            }
        }
        let inside = Inside::open(&at.namespace).await.map_err(failed())?;
        if inside.find(&self.eth).await.map_err(failed())?.is_none() {
            return Ok(None);
        }
        if !inside.is_held(&at.tap).await.map_err(failed())?
            && let Err(why) = self.check(at, entry, turn).await
        {
            tracing::warn!(%why, "the seat is put on its network anew");
            return Ok(None);
        }
        self.joined(at, result, &inside, user).await.map(Some)
    }

    /// Runs ADD of all plugins, in a namespace that is made for them.
    pub(super) async fn add(
        &self,
        at: &At,
        entry: &mut Entry,
        turn: &mut Turn,
        user: Option<u32>,
    ) -> Result<Attached, CniError> {
        let made = async {
            // Of a seat that had the number before; nothing of it is known any more.
            netns::remove(&at.namespace)?;
            let inode = netns::create(&at.namespace).await?;
            Ok(NamespaceId { inode, boot: cache::boot_id()? })
        };
        let made: io::Result<_> = made.await;
        let doing = "making its network namespace (CAP_SYS_ADMIN is needed)";
        entry.namespace = Some(made.map_err(CniError::host(&at.whom, doing))?);
        self.note(at, entry)?;
        let mut result: Option<AddResult> = None;
        for number in 0..entry.list.plugins().len() {
            let before = result.as_ref().map(AddResult::raw);
            let output = self.run(at, entry, number, "ADD", before, turn).await?;
            let answer =
                AddResult::parse(&output).map_err(|why| self.unusable(at, entry, number, why.to_string()))?;
            result = Some(answer);
        }
        let last = entry.list.plugins().len().saturating_sub(1);
        let result = result.ok_or_else(|| self.unusable(at, entry, last, "there is no answer".into()))?;
        entry.result = Some(result.clone());
        self.note(at, entry)?;
        if let Err(why) = result.guest(INTERFACE) {
            return Err(self.unusable(at, entry, last, why.to_string()));
        }
        let opened = Inside::open(&at.namespace).await;
        let inside = opened.map_err(CniError::host(&at.whom, "looking at its network namespace"))?;
        self.joined(at, &result, &inside, user).await
    }

    async fn joined(
        &self,
        at: &At,
        result: &AddResult,
        inside: &Inside<'_>,
        user: Option<u32>,
    ) -> Result<Attached, CniError> {
        let wrong = |why: super::InvalidResult| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
        let guest = result.guest(INTERFACE).map_err(wrong);
        let guest = guest.map_err(CniError::host(&at.whom, "reading what the network gave it"))?;
        if guest.other_routes > 0 {
            tracing::warn!(
                seat = at.key,
                routes = guest.other_routes,
                "the guest gets no route but the default one"
            );
        }
        // Root may open it anyway.
        let owner = user.map_or((0, 0), |uid| (uid, uid));
        let joined = inside.join(&self.eth, &at.tap, owner).await;
        let doing = "joining its TAP device to eth0 (needs act_mirred and cls_u32 of the kernel)";
        let Likeness { mac, mtu } = joined.map_err(CniError::host(&at.whom, doing))?;
        Ok(Attached {
            namespace: at.namespace.clone(),
            tap: at.tap.clone(),
            mac,
            mtu,
            address: guest.address,
            gateway: guest.gateway,
            dns: guest.dns,
        })
    }

    pub(super) async fn check(&self, at: &At, entry: &Entry, turn: &mut Turn) -> Result<(), CniError> {
        let Some(result) = &entry.result else { return Ok(()) };
        if !entry.version.has_check() || entry.list.disables_check() {
            return Ok(());
        }
        for number in 0..entry.list.plugins().len() {
            self.run(at, entry, number, "CHECK", Some(result.raw()), turn).await?;
        }
        Ok(())
    }

    /// Runs DEL of all plugins, in reverse order, and removes the namespace and then the entry. An error stops no other plugin.
    pub(super) async fn undo(&self, at: &At, entry: &Entry, turn: &mut Turn) -> Result<(), CniError> {
        let mut errors = Vec::new();
        let before = entry.result.as_ref().filter(|_| entry.version.has_check()).map(AddResult::raw);
        for number in (0..entry.list.plugins().len()).rev() {
            match self.run(at, entry, number, "DEL", before, turn).await {
                // 3: there is no such container, and so nothing to do.
                Err(CniError::Plugin { failure, .. }) if failure.code == 3 => {}
                Err(why) => errors.push(why),
                Ok(_) => {}
            }
        }
        if errors.is_empty() {
            // One that is not through may need it the next time.
            let removed = netns::remove(&at.namespace);
            errors.extend(removed.map_err(CniError::host(&at.whom, "removing its network namespace")).err());
        }
        if errors.is_empty() {
            let forgotten = self.cache.remove(&at.key);
            errors.extend(forgotten.map_err(CniError::host(&at.whom, "forgetting its network")).err());
        }
        CniError::collected(errors)
    }

    fn unusable(&self, at: &At, entry: &Entry, number: usize, why: String) -> CniError {
        let plugin =
            entry.list.plugins().get(number).map_or_else(String::new, |plugin| plugin.kind().to_string());
        CniError::Answer { for_whom: at.whom.clone(), plugin, verb: "ADD", why }
    }

    async fn run(
        &self,
        at: &At,
        entry: &Entry,
        number: usize,
        verb: &'static str,
        before: Option<&Value>,
        turn: &mut Turn,
    ) -> Result<Vec<u8>, CniError> {
        let plugin = &entry.list.plugins()[number];
        let program = self.program(plugin.kind().as_str(), &entry.list)?;
        let request = plugin.request(entry.list.name(), entry.version, before, &entry.capabilities);
        let input =
            serde_json::to_vec(&request).map_err(io::Error::from).and_then(|request| turn.input(&request));
        let input = input.map_err(CniError::host(&at.whom, "writing what a plugin is asked"))?;
        let is_there = netns::number(&at.namespace).is_ok_and(|number| number.is_some());
        Run {
            whom: &at.whom,
            plugin: plugin.kind().as_str(),
            program: &program,
            verb,
            folders: &self.options.bin_dirs,
            attachment: Some((&entry.container, is_there.then_some(at.namespace.as_path()), INTERFACE)),
            input,
            limit: self.options.limit,
        }
        .run()
        .await
    }

    fn program(&self, plugin: &str, list: &NetworkList) -> Result<PathBuf, CniError> {
        exec::find(plugin, &self.options.bin_dirs).ok_or_else(|| CniError::NoPlugin {
            plugin: plugin.to_owned(),
            network: list.name().to_string(),
            folders: self.options.bin_dirs.clone(),
        })
    }

    /// The versions that a plugin knows, of those that are understood here. It is asked once.
    pub(super) async fn versions_of(
        &self,
        plugin: &str,
        list: &NetworkList,
    ) -> Result<Vec<SpecVersion>, CniError> {
        let program = self.program(plugin, list)?;
        let about = std::fs::metadata(&program).ok();
        let now = (
            program.clone(),
            about.as_ref().map_or(0, std::fs::Metadata::len),
            about.and_then(|about| about.modified().ok()),
        );
        let mut known = self.known.lock().await;
        if let Some(versions) = known.get(&now) {
            return Ok(versions.clone());
        }
        let whom = format!("network {}", list.name());
        let newest = list.versions().last().map_or("1.0.0", |version| version.as_str());
        let input = question(&serde_json::json!({ "cniVersion": newest }).to_string());
        let run = Run {
            whom: &whom,
            plugin,
            program: &program,
            verb: "VERSION",
            folders: &self.options.bin_dirs,
            attachment: None,
            input: input.map_err(CniError::host(&whom, "writing what a plugin is asked"))?,
            limit: self.options.limit,
        };
        let output = run.run().await?;
        let answer: Result<Value, _> = serde_json::from_slice(&output);
        let supported = answer.as_ref().ok().and_then(|answer| answer.get("supportedVersions")?.as_array());
        let Some(supported) = supported else {
            let why = "it names no supportedVersions".to_owned();
            return Err(CniError::Answer { for_whom: whom, plugin: plugin.to_owned(), verb: "VERSION", why });
        };
        let versions: Vec<SpecVersion> =
            supported.iter().filter_map(|version| version.as_str()?.parse().ok()).collect();
        known.insert(now, versions.clone());
        Ok(versions)
    }
}

/// A file in memory that says this.
fn question(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("cni", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

pub(super) fn versions(versions: &[SpecVersion]) -> String {
    if versions.is_empty() {
        return "none of those that this service knows".to_owned();
    }
    versions.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", ")
}
