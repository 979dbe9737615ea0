//! What can go wrong with a network of an operator's.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Why a seat is not on the operator's network, or not off it.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There is no list of that name.
    #[error(
        "there is no CNI network {network} in {} ({}); put its .conflist there, or name another by microvm.cni_network",
        .folder.display(), Others(.found)
    )]
    NoNetwork {
        /// What was looked for.
        network: String,
        /// Where.
        folder: PathBuf,
        /// What there is: names of networks, and files that are none with the reason.
        found: Vec<String>,
    },
    /// A list cannot be used.
    #[error("{}: {why}", .path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The plugins and the list have no version in common.
    #[error(
        "the CNI network {network} has no version that all have in common: {detail}; set its cniVersion to one that they know"
    )]
    Version {
        /// The network.
        network: String,
        /// Who knows which.
        detail: String,
    },
    /// A plugin's program is missing.
    #[error(
        "the CNI plugin {plugin} of the network {network} is in none of {}; install it (Debian: containernetworking-plugins), or name its \
         folder in microvm.cni_bin_dirs", Folders(.folders)
    )]
    NoPlugin {
        /// The `type` in the list.
        plugin: String,
        /// The network.
        network: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// A plugin said no.
    #[error("{for_whom}: the CNI plugin {plugin} failed at {verb}: {failure}")]
    Plugin {
        /// For whom it was run.
        for_whom: String,
        /// The `type` in the list.
        plugin: String,
        /// `ADD`, `CHECK`, `DEL` or `VERSION`.
        verb: &'static str,
        /// What it said.
        failure: PluginFailure,
    },
    /// A plugin did not end; it was killed.
    #[error(
        "{for_whom}: the CNI plugin {plugin} did not end at {verb} within {} s and was killed; see what it waits for, then create or destroy \
         the seat again", .limit.as_secs()
    )]
    Hangs {
        /// For whom it was run.
        for_whom: String,
        /// The `type` in the list.
        plugin: String,
        /// `ADD`, `CHECK`, `DEL` or `VERSION`.
        verb: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A plugin answered what cannot be used.
    #[error("{for_whom}: what the CNI plugin {plugin} answered to {verb} cannot be used: {why}")]
    Answer {
        /// For whom it was run.
        for_whom: String,
        /// The `type` in the list.
        plugin: String,
        /// `ADD` or `VERSION`.
        verb: &'static str,
        /// Why not.
        why: String,
    },
    /// The host refused.
    #[error("{for_whom}: {doing}: {source}")]
    Host {
        /// For whom.
        for_whom: String,
        /// What was tried.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// What had been done could not be taken back either.
    #[error("{why}; and it could not be taken back: {}", All(.left))]
    Left {
        /// What went wrong first.
        why: Box<Self>,
        /// What went wrong afterwards.
        left: Vec<Self>,
    },
    /// Several things went wrong while cleaning up; the rest is done.
    #[error("{}", All(.0))]
    Several(Vec<Self>),
}

impl CniError {
    pub(super) fn host(whom: &str, doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (for_whom, doing) = (whom.to_owned(), doing.into());
        move |source| Self::Host { for_whom, doing, source }
    }

    /// One error of all that were collected; none is success.
    pub(super) fn collected(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// Whether it is the operator's configuration, which no repetition helps.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::NoNetwork { .. } | Self::List { .. } | Self::Version { .. } | Self::NoPlugin { .. }
        )
    }
}

/// What a plugin says when it fails (section 5 of the specification).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PluginFailure {
    /// 1 to 99 have a meaning of the specification's, those from 100 the plugin's own. 0 of a plugin that said none.
    #[serde(default)]
    pub code: u32,
    /// In a few words.
    #[serde(default)]
    pub msg: String,
    /// In more words.
    #[serde(default)]
    pub details: String,
}

impl PluginFailure {
    /// The longest text that is told, in characters.
    const LONGEST: usize = 1000;

    /// Reads what a plugin printed when it failed.
    pub(super) fn read(output: &[u8], messages: &[u8], status: &str) -> Self {
        if let Ok(failure) = serde_json::from_slice::<Self>(output)
            && !(failure.msg.is_empty() && failure.details.is_empty())
        {
            return failure;
        }
        let said = [output, messages].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let said: Vec<_> = said.into_iter().filter(|text| !text.is_empty()).collect();
        let details: String = said.join("; ").chars().take(Self::LONGEST).collect();
        Self { code: 0, msg: format!("it ended with {status}"), details }
    }

    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match self.code {
            1 => "; set the cniVersion of the network to one that it knows",
            2 | 7 => "; correct its part of the .conflist",
            4..=6 => "; look at its version and at the service's log",
            11 => "; create the seat again in a while",
            50 | 51 => "; see that what the plugin depends on runs",
            _ => "; mend what it complains about, then create the seat again",
        }
    }
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.msg.trim())?;
        if !self.details.trim().is_empty() {
            write!(f, ": {}", self.details.trim())?;
        }
        if self.code != 0 {
            write!(f, " (code {})", self.code)?;
        }
        f.write_str(self.remedy())
    }
}

struct All<'a>(&'a [CniError]);

impl fmt::Display for All<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

struct Others<'a>(&'a [String]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("no .conflist at all")
        } else {
            write!(f, "there is {}", self.0.join(", "))
        }
    }
}

struct Folders<'a>(&'a [PathBuf]);

impl fmt::Display for Folders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|folder| folder.display().to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_is_told_with_its_code() {
        let said = br#"{"cniVersion": "1.0.0", "code": 11, "msg": "try again", "details": "no lease yet"}"#;
        let failure = PluginFailure::read(said, b"", "exit status: 1");
        assert_eq!(
            failure.to_string(),
            "try again: no lease yet (code 11); create the seat again in a while"
        );
        let failure = PluginFailure::read(b"Segmentation fault", b"at 0x0", "signal: 11");
        assert_eq!(failure.code, 0);
        assert!(
            failure.to_string().starts_with("it ended with signal: 11: Segmentation fault; at 0x0"),
            "{failure}"
        );
        for said in [&b""[..], b"{}", b"null", b"[]", &[0xff, 0xfe], br#"{"code": -1, "msg": "x"}"#] {
            let failure = PluginFailure::read(said, b"", "exit status: 3");
            assert!(failure.to_string().starts_with("it ended with exit status: 3"), "{failure}");
        }
    }
}
