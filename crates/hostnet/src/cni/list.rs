//! Network configuration lists: what an operator writes (section 1 of the specification), and what a plugin gets of it (section 3).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value};

use super::error::CniError;
use super::version::SpecVersion;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The name of a network: an alphanumeric character, then alphanumeric ones, `_`, `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(Box<str>);

/// The `type` of a plugin, which is the name of its program: no path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginName(Box<str>);

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidList(String);

/// The plugins of one network, in the order in which they are added.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    name: NetworkName,
    versions: BTreeSet<SpecVersion>,
    disable_check: bool,
    takes_more: bool,
    plugins: Vec<Plugin>,
}

/// One of them, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plugin {
    kind: PluginName,
    body: Map<String, Value>,
}

impl NetworkList {
    /// Reads one.
    ///
    /// # Errors
    /// With what is wrong with it, and what to do.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidList> {
        let value: Value =
            serde_json::from_slice(text).map_err(|why| invalid(format!("it is not JSON: {why}")))?;
        Self::from_value(&value)
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, InvalidList> {
        let list = value.as_object().ok_or_else(|| invalid("it is not a JSON object"))?;
        let name = list.get("name").and_then(Value::as_str).ok_or_else(|| invalid("it has no name"))?;
        let name = name.parse()?;
        let versions = versions(list)?;
        let [disable_check, only_inlined] =
            ["disableCheck", "loadOnlyInlinedPlugins"].map(|key| flag(list, key));
        let (disable_check, only_inlined) = (disable_check?, only_inlined?);
        let plugins = match list.get("plugins") {
            None if list.contains_key("type") => {
                return Err(invalid(
                    "it is the configuration of one plugin; put that into \"plugins\": [ … ] with the cniVersion and the name beside it",
                ));
            }
            None if only_inlined => {
                return Err(invalid("loadOnlyInlinedPlugins is true, and there are no plugins"));
            }
            None => Vec::new(),
            Some(Value::Array(plugins)) if plugins.is_empty() => return Err(invalid("its plugins are none")),
            Some(Value::Array(plugins)) => {
                plugins.iter().map(Plugin::from_value).collect::<Result<Vec<_>, _>>()?
            }
            Some(_) => return Err(invalid("its plugins are no array")),
        };
        Ok(Self { name, versions, disable_check, takes_more: !only_inlined, plugins })
    }

    /// The list of a name among the `.conflist` files of a folder, in their order, with the plugins in the folder of that name beside it.
    pub(super) fn find(folder: &Path, network: &NetworkName) -> Result<(Self, PathBuf), CniError> {
        let mut found = Vec::new();
        for path in files(folder, "conflist").map_err(|why| list_error(folder, why))? {
            let read = read(&path).and_then(|text| Self::parse(&text));
            match read {
                Ok(list) if list.name == *network => {
                    let list = list.with_more(folder).map_err(|(path, why)| list_error(&path, why))?;
                    return Ok((list, path));
                }
                Ok(list) => found.push(list.name.to_string()),
                Err(why) if names(&path, network) => return Err(list_error(&path, why)),
                Err(why) => found.push(format!("{}, which is none: {why}", path.display())),
            }
        }
        Err(CniError::NoNetwork { network: network.to_string(), folder: folder.to_owned(), found })
    }

    /// Appends what is in the folder with the network's name.
    fn with_more(mut self, folder: &Path) -> Result<Self, (PathBuf, InvalidList)> {
        let folder = folder.join(self.name.as_str());
        if self.takes_more {
            for path in files(&folder, "conf").map_err(|why| (folder.clone(), why))? {
                let parse = |text: Vec<u8>| {
                    let value = serde_json::from_slice(&text)
                        .map_err(|why| invalid(format!("it is not JSON: {why}")))?;
                    Plugin::from_value(&value)
                };
                let plugin = read(&path).and_then(parse).map_err(|why| (path.clone(), why))?;
                self.plugins.push(plugin);
            }
        }
        if self.plugins.is_empty() {
            return Err((folder, invalid("the network has no plugins")));
        }
        Ok(self)
    }

    /// As it is written, complete.
    pub(super) fn to_value(&self) -> Value {
        let plugins: Vec<_> = self.plugins.iter().map(|plugin| Value::Object(plugin.body.clone())).collect();
        let versions: Vec<_> = self.versions.iter().map(|version| version.as_str()).collect();
        serde_json::json!({
            "cniVersions": versions,
            "name": self.name.as_str(),
            "disableCheck": self.disable_check,
            "loadOnlyInlinedPlugins": true,
            "plugins": plugins,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &NetworkName {
        &self.name
    }

    /// The versions that it is written for, of those that are understood here; at least one.
    #[must_use]
    pub fn versions(&self) -> &BTreeSet<SpecVersion> {
        &self.versions
    }

    /// Whether CHECK must not be asked for.
    #[must_use]
    pub fn disables_check(&self) -> bool {
        self.disable_check
    }

    /// The programs, in order.
    pub fn programs(&self) -> impl DoubleEndedIterator<Item = &PluginName> + ExactSizeIterator {
        self.plugins.iter().map(|plugin| &plugin.kind)
    }

    pub(super) fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }
}

impl Plugin {
    fn from_value(value: &Value) -> Result<Self, InvalidList> {
        let body = value.as_object().ok_or_else(|| invalid("one of its plugins is no JSON object"))?;
        let kind = body
            .get("type")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("one of its plugins has no type"))?;
        let kind = kind.parse()?;
        match body.get("capabilities") {
            None | Some(Value::Object(_)) => Ok(Self { kind, body: body.clone() }),
            Some(_) => Err(invalid(format!("the capabilities of its plugin {kind} are no JSON object"))),
        }
    }

    pub(super) fn kind(&self) -> &PluginName {
        &self.kind
    }

    /// What its program gets: everything that is written for it, and what the runtime adds. Of `capabilities` those that it has.
    pub(super) fn request(
        &self,
        network: &NetworkName,
        version: SpecVersion,
        before: Option<&Value>,
        capabilities: &Map<String, Value>,
    ) -> Value {
        let mut request = self.body.clone();
        let has = request.remove("capabilities");
        let has = |name: &String| {
            has.as_ref().and_then(|has| has.get(name)).is_some_and(|has| *has == Value::Bool(true))
        };
        // Keys that are the runtime's: what is written there has no meaning.
        request.retain(|key, _| {
            !matches!(key.as_str(), "prevResult" | "runtimeConfig") && !key.starts_with("cni.dev/")
        });
        request.insert("cniVersion".into(), version.as_str().into());
        request.insert("name".into(), network.as_str().into());
        if let Some(before) = before {
            request.insert("prevResult".into(), before.clone());
        }
        let runtime: Map<_, _> = capabilities
            .iter()
            .filter(|(name, _)| has(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !runtime.is_empty() {
            request.insert("runtimeConfig".into(), Value::Object(runtime));
        }
        Value::Object(request)
    }
}

fn versions(list: &Map<String, Value>) -> Result<BTreeSet<SpecVersion>, InvalidList> {
    let more = match list.get("cniVersions") {
        None => &[][..],
        Some(Value::Array(more)) => more,
        Some(_) => return Err(invalid("its cniVersions are no array")),
    };
    let mut written = Vec::new();
    for version in list.get("cniVersion").into_iter().chain(more) {
        written.push(version.as_str().ok_or_else(|| invalid("its cniVersion is no text"))?);
    }
    let known: BTreeSet<_> = written.iter().filter_map(|text| text.parse().ok()).collect();
    if known.is_empty() {
        // One that says none is of 0.1.0, as plugins see it.
        let written =
            if written.is_empty() { "0.1.0, because it says none".to_owned() } else { written.join(", ") };
        let ours = SpecVersion::ALL.map(SpecVersion::as_str).join(", ");
        return Err(invalid(format!("its cniVersion is {written}, and this service knows {ours}")));
    }
    Ok(known)
}

/// A boolean, which some write as text.
fn flag(list: &Map<String, Value>, key: &str) -> Result<bool, InvalidList> {
    match list.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(invalid(format!("its {key} is neither true nor false"))),
    }
}

fn invalid(why: impl Into<String>) -> InvalidList {
    InvalidList(why.into())
}

fn list_error(path: &Path, why: InvalidList) -> CniError {
    CniError::List { path: path.to_owned(), why: why.0 }
}

/// The files of a folder that end so, in the order of their names; none when there is no folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, InvalidList> {
    let entries = match fs::read_dir(folder) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|why| invalid(format!("it cannot be read: {why}")))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|why| invalid(format!("it cannot be read: {why}")))?.path();
        if path.extension().is_some_and(|found| found == extension) && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, InvalidList> {
    let unread = |why: std::io::Error| invalid(format!("it cannot be read: {why}"));
    if fs::metadata(path).map_err(unread)?.len() > LARGEST {
        return Err(invalid("it is larger than a mebibyte"));
    }
    fs::read(path).map_err(unread)
}

/// Whether a file that cannot be used is the one that is looked for, as far as can be told: by its `name`, or by what it is called.
fn names(path: &Path, network: &NetworkName) -> bool {
    let named = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let named = named.and_then(|value| Some(value.get("name")?.as_str()? == network.as_str()));
    named.unwrap_or_else(|| path.file_stem().is_some_and(|stem| stem == network.as_str()))
}

impl NetworkName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PluginName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = InvalidList;

    fn from_str(text: &str) -> Result<Self, InvalidList> {
        let good = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
        if text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(good)
            && text.len() <= 200
        {
            return Ok(Self(text.into()));
        }
        Err(invalid(format!(
            "{text:?} is no name of a network: letters, digits, _, . and -, the first a letter or digit"
        )))
    }
}

impl FromStr for PluginName {
    type Err = InvalidList;

    fn from_str(text: &str) -> Result<Self, InvalidList> {
        let bad = |char: char| char == '/' || char == '\\' || char.is_control();
        if text.is_empty() || text.starts_with('.') || text.contains(bad) || text.len() > 200 {
            return Err(invalid(format!(
                "{text:?} is no type of a plugin: the name of a program, without a path"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
