//! What the service and a keeper say to each other: one line of JSON each.

use std::io::{self, Read as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::vmm::jail::JailSpec;
use crate::vmm::{CgroupSpec, Exit, LogFile, MonitorKind, ProcessId, UserIds};

/// The number of this conversation. A keeper of another one refuses: the program was replaced while the service ran.
pub(in crate::vmm) const GENERATION: u32 = 5;
/// The longest line that is read, in bytes.
pub(in crate::vmm) const LONGEST: u64 = 1 << 20;
/// What the service says when the VM is as it should be.
pub(in crate::vmm) const CONFIRM: &[u8] = b"confirm\n";

/// What a keeper is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vmm) enum Request {
    /// To have the first process of a jailed VM's namespace there before it is known what to launch, which is said next.
    Ahead { generation: u32 },
    /// To keep a VM.
    Launch(Box<Launch>),
    /// To be the first process of a jailed VM's namespace: what a keeper asks for.
    Init(Box<Launch>),
    /// To try whether KVM runs a guest, and to end.
    Probe { generation: u32 },
}

/// What to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::vmm) struct Launch {
    pub(in crate::vmm) generation: u32,
    pub(in crate::vmm) seat: String,
    pub(in crate::vmm) monitor: MonitorKind,
    pub(in crate::vmm) folder: PathBuf,
    pub(in crate::vmm) program: PathBuf,
    pub(in crate::vmm) arguments: Vec<Argument>,
    /// What is handed over open, in this order.
    pub(in crate::vmm) descriptors: Vec<Open>,
    /// TAP devices that the monitor opens by their names: they must be there.
    pub(in crate::vmm) taps: Vec<String>,
    /// Whether the monitor begins in a folder of its own, in which it makes its sockets.
    pub(in crate::vmm) has_folder: bool,
    /// The jail that `program` starts the monitor in; it changes the user itself.
    pub(in crate::vmm) jail: Option<JailSpec>,
    /// Where keeper and monitor run.
    pub(in crate::vmm) network_namespace: Option<PathBuf>,
    pub(in crate::vmm) user: Option<UserIds>,
    /// The supplementary groups.
    pub(in crate::vmm) groups: Vec<u32>,
    pub(in crate::vmm) cgroup: Option<CgroupSpec>,
    pub(in crate::vmm) console: LogFile,
}

/// One argument of the monitor; the numbers of descriptors are put in by the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vmm) enum Argument {
    Plain(String),
    /// What stands before the number of a descriptor, which one of the list it is, and what stands behind.
    Descriptor(String, usize, String),
}

/// Something that the keeper opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vmm) enum Open {
    /// A file or block device.
    File { path: PathBuf, write: bool },
    /// A listening unix socket in the VM's folder.
    Listener { name: String },
    /// An existing, persistent TAP device.
    Tap { name: String },
}

/// What the keeper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vmm) enum Answer {
    /// The monitor has been started.
    Started { keeper: ProcessId, vmm: ProcessId },
    /// The VM can be adopted from here on.
    Confirmed {},
    /// There is no VM; `busy` when another one is the reason, `user_taken` when its user has a process of somebody else's. A program that replaced this one while the
    /// service ran says no more than why.
    Failed {
        why: String,
        #[serde(default)]
        busy: bool,
        #[serde(default)]
        user_taken: bool,
    },
    /// The monitor ended before it was confirmed.
    Ended { exit: Exit },
    /// KVM runs a guest, or what is the trouble with it.
    Probed { trouble: Option<String> },
}

impl Request {
    /// Reads one from standard input, up to the end of its line and no further.
    pub(super) fn read() -> io::Result<Self> {
        let mut line = Vec::new();
        let mut input = io::stdin().lock();
        // The reader's buffer may hold more, but the service says nothing more before it has an answer.
        let mut byte = [0];
        while input.read(&mut byte)? == 1 && byte[0] != b'\n' {
            if line.len() as u64 >= LONGEST {
                return Err(io::Error::other("what to start is longer than a mebibyte"));
            }
            line.push(byte[0]);
        }
        let request: Self = serde_json::from_slice(&line)?;
        let other = match &request {
            Self::Ahead { generation } | Self::Probe { generation } => *generation,
            Self::Launch(launch) | Self::Init(launch) => launch.generation,
        };
        if other != GENERATION {
            let why = format!(
                "the keeper speaks generation {GENERATION} and the service {other}: the program was replaced; restart the service"
            );
            return Err(io::Error::other(why));
        }
        Ok(request)
    }
}
