//! What the image's environment means for what starts. Its values stay in here.

use std::collections::BTreeMap;

use crate::RunConfig;

/// What a container engine sets where an image has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most folders of one list that are looked at.
const MOST_FOLDERS: usize = 64;

/// The variables of an image; of several of one name the last counts.
#[derive(Clone, Default)]
pub(super) struct Environment<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Environment<'a> {
    pub(super) fn new(config: &'a RunConfig) -> Self {
        Self(config.env.iter().map(|variable| variable.split_once('=').unwrap_or((variable, ""))).collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.0.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.0.iter().map(|(&name, &value)| (name, value))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied().filter(|value| !value.is_empty())
    }

    /// The folders in which programs are looked for.
    pub(super) fn path(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        folders(self.value("PATH").unwrap_or(DEFAULT_PATH).as_bytes())
    }
}

/// The first [`MOST_FOLDERS`] folders of a list; an empty one is where the program runs.
pub(super) fn folders(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = list.split(|&byte| byte == b':');
    all.map(|folder| if folder.is_empty() { &b"."[..] } else { folder }).take(MOST_FOLDERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let env = ["A=1", "PATH=/a::/b", "A=2=3", "B", "EMPTY="].map(String::from).to_vec();
        let config = RunConfig { env, ..RunConfig::default() };
        let environment = Environment::new(&config);
        assert_eq!(environment.value("A"), Some("2=3"));
        assert_eq!((environment.value("B"), environment.value("EMPTY")), (None, None));
        assert_eq!(environment.path().collect::<Vec<_>>(), [&b"/a"[..], b".", b"/b"]);
        let bare = RunConfig::default();
        assert_eq!(Environment::new(&bare).path().last(), Some(&b"/bin"[..]));
    }
}
