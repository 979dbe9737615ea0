//! The first root of a guest.
//!
//! ```text
//!   /init                  the agent
//!   /modules/NNN-name.ko   modules, unpacked, in the order in which they are loaded
//!   /clarateach/boot.json  what this is
//!   /dev/console           for what is said before /dev is there
//! ```

use serde::{Deserialize, Serialize};

use crate::Agent;
use crate::cpio::{Archive, CpioError};
use crate::modules::Module;

/// What a first root says of itself, in `/clarateach/boot.json` and beside the prepared boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFile {
    /// The version of this document: [`BootFile::SCHEMA`].
    pub schema: u32,
    /// The kernel's version, as `uname -r` shows it.
    pub kernel: String,
    /// The format of the kernel's file.
    pub format: crate::kernel::KernelFormat,
    /// The modules in the order in which they are loaded.
    pub modules: Vec<String>,
}

impl BootFile {
    /// The version that is written.
    pub const SCHEMA: u32 = 1;
}

/// The archive. The same agent, modules and document give the same bytes.
pub(crate) fn archive(agent: &Agent, modules: &[Module], about: &[u8]) -> Result<Vec<u8>, CpioError> {
    let mut archive = Archive::default();
    for folder in ["dev", "modules", "clarateach"] {
        archive.folder(folder)?;
    }
    archive.device("dev/console", 5, 1)?;
    archive.file("init", 0o755, agent.bytes())?;
    archive.file("clarateach/boot.json", 0o644, about)?;
    for (number, module) in modules.iter().enumerate() {
        archive.file(&format!("modules/{number:03}-{}.ko", module.name), 0o644, &module.content)?;
    }
    Ok(archive.finish())
}
