//! What is known of an image before anybody starts it.

use serde::{Serialize, Serializer};

use super::{Finding, Level};
use crate::{Digest, Healthcheck};

/// The version of [`Report`] as a document. A new field is no new version; one that goes away or changes its meaning is.
pub const SCHEMA: u32 = 1;

/// What is known of an image. No value of its environment or of its labels is in here, because secrets are left there.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`]
    pub schema: u32,
    /// All findings in one word.
    pub verdict: Verdict,
    /// The digest of the image's configuration, which names the image.
    #[serde(serialize_with = "text")]
    pub image: Digest,
    /// The processor that it is for, in Go's words; empty when it does not say.
    pub architecture: String,
    /// The operating system that it is for, in Go's words; empty when it does not say.
    pub os: String,
    /// What is installed in it, from `os-release(5)`.
    pub distribution: Option<Distribution>,
    /// What starts.
    pub starts: Starts,
    /// As whom it starts.
    pub user: User,
    /// Where it starts.
    pub working_dir: String,
    /// Ports that it says it listens on, as `3001/tcp`.
    pub ports: Vec<String>,
    /// How its health is found out.
    pub health_check: Option<Healthcheck>,
    /// Folders that it wants to outlive a container.
    pub volumes: Vec<String>,
    /// The signal that ends it.
    pub stop_signal: String,
    /// The names of the variables of its environment, without their values.
    pub environment: Vec<String>,
    /// How many layers it has.
    pub layers: usize,
    /// Bytes of the content of its files that are left after all layers, each file once.
    pub content_bytes: u64,
    /// Files, folders, links and devices that are left after all layers, each once.
    pub inodes: u64,
    /// Bytes of the ext4 file that it becomes, holes included; nothing when none can be made.
    pub file_bytes: Option<u64>,
    /// What was looked at, in a fixed order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The finding of a name.
    #[must_use]
    pub fn finding(&self, name: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.name == name)
    }
}

/// Whether an image boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing stands against it.
    Boots,
    /// It starts; something in it may not work.
    BootsWithWarnings,
    /// It does not start.
    WillNotBoot,
}

impl Verdict {
    /// What findings amount to.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        match findings.iter().map(|finding| finding.level).max() {
            None | Some(Level::Ok) => Self::Boots,
            Some(Level::Warning) => Self::BootsWithWarnings,
            Some(Level::WillNotBoot) => Self::WillNotBoot,
        }
    }

    /// Its word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boots => "boots",
            Self::BootsWithWarnings => "boots_with_warnings",
            Self::WillNotBoot => "will_not_boot",
        }
    }
}

/// What is installed in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// Its word for programs: `debian`.
    pub id: String,
    /// Its version for programs: `12`; empty for those that have none.
    pub version: String,
    /// Its name for people: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
}

/// What starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Starts {
    /// The image's entrypoint.
    pub entrypoint: Vec<String>,
    /// The image's command.
    pub command: Vec<String>,
    /// The files that the kernel starts with, from the script, if it is one, to the dynamic loader, if it needs one.
    pub chain: Vec<Link>,
}

/// A file on the way to a running program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Where it really is, with all symbolic links followed.
    pub path: String,
    /// What it is.
    pub kind: LinkKind,
}

/// What a file on the way to a running program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A text for an interpreter.
    Script,
    /// A program that needs nothing else.
    Static,
    /// A program that a dynamic loader loads.
    Dynamic,
    /// The dynamic loader.
    Loader,
}

/// As whom it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct User {
    /// What the image says; empty is root.
    pub asked: String,
    /// The user's name, where the image has one for it.
    pub name: Option<String>,
    /// The user's number; nothing when the image does not say which number the name has.
    pub uid: Option<u32>,
    /// The group's number.
    pub gid: Option<u32>,
    /// Further groups, sorted.
    pub groups: Vec<u32>,
    /// The home folder.
    pub home: String,
    /// The shell, where the image has one for the user.
    pub shell: Option<String>,
}

fn text<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}
