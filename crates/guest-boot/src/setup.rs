//! Making a boot: a kernel is found and looked at, its modules are gathered, and both are kept with the agent.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::agent::Agent;
use crate::check::{Has, NEEDS, Need, look};
use crate::find::{Found, find};
use crate::initramfs::{BootFile, archive};
use crate::kernel::KernelFormat;
use crate::modules::{Module, ModuleTree};
use crate::{Architecture, BootId, SetupError, prepared};

/// What a boot is made of.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// A kernel, or a folder with one; nothing: this host's own.
    pub from: Option<PathBuf>,
    /// The agent: a static program.
    pub agent: PathBuf,
    /// Where boots are kept.
    pub folder: PathBuf,
    /// Whether a packed kernel is kept as the ELF file in it: Firecracker before 1.17 loads no other. QEMU loads both.
    pub unpack: bool,
}

/// What was made, and of what.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its id.
    pub id: String,
    /// Where the kernel came from.
    pub kernel: PathBuf,
    /// The kernel's version.
    pub version: String,
    /// Its format.
    pub format: KernelFormat,
    /// The modules in the first root, in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Bytes of the first root.
    pub initramfs_bytes: u64,
    /// What was looked for, and how the kernel has it.
    pub checks: Vec<Check>,
}

/// How a kernel has one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it is for.
    pub what: &'static str,
    /// The kernel's setting.
    pub setting: String,
    /// How the kernel has it.
    pub has: Has,
    /// Whether seats cannot be without it.
    pub required: bool,
}

/// Prepares a boot and makes it the one for new seats. Seats that run keep theirs.
///
/// # Errors
/// When there is no kernel, it lacks something, the agent is no static program, or the folder cannot be written; nothing has changed then.
pub fn setup(options: &SetupOptions) -> Result<Report, SetupError> {
    let Found { kernel, modules, config } = find(options.from.as_deref())?;
    if Some(kernel.architecture()) != Architecture::of_host() {
        let host = std::env::consts::ARCH.to_owned();
        return Err(SetupError::Architecture { found: kernel.architecture(), host });
    }
    let kernel = if options.unpack { kernel.unpacked()? } else { kernel };
    if !kernel.has_direct_entry() {
        let why = match options.unpack {
            false => {
                "it is an ELF file without a PVH note (CONFIG_PVH), which monitors need; take its bzImage"
            }
            true => "it has no PVH note (CONFIG_PVH), without which it is not entered directly; take another",
        };
        return Err(crate::KernelError::Wrong { path: kernel.path().into(), why: why.into() }.into());
    }
    let agent = Agent::read(&options.agent)?;
    let tree = modules.as_deref().map(ModuleTree::open).transpose()?;
    let found: Vec<(&Need, Has)> =
        NEEDS.iter().map(|need| (need, look(need, config.as_ref(), tree.as_ref()))).collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|(need, has)| need.required && *has == Has::Missing)
        .map(|(need, _)| format!("{} (CONFIG_{})", need.what, need.setting))
        .collect();
    if !missing.is_empty() {
        return Err(SetupError::Lacks { version: kernel.version().into(), missing });
    }
    let modules = gather(&found, tree.as_ref(), kernel.version())?;
    let names: Vec<_> = modules.iter().map(|module| module.name.to_string()).collect();
    let about = BootFile {
        schema: BootFile::SCHEMA,
        kernel: kernel.version().into(),
        format: kernel.format(),
        modules: names.clone(),
    };
    let write = |why| SetupError::Write { path: options.folder.clone(), why };
    let document = serde_json::to_vec_pretty(&about).map_err(|why| write(why.into()))?;
    let initramfs = archive(&agent, &modules, &document)?;
    let id: BootId = prepared::keep(&options.folder, kernel.bytes(), &initramfs, &document).map_err(write)?;
    Ok(Report {
        id: id.to_string(),
        kernel: absolute(kernel.path()),
        version: about.kernel,
        format: about.format,
        modules: names,
        initramfs_bytes: initramfs.len() as u64,
        checks: found
            .into_iter()
            .map(|(need, has)| Check {
                what: need.what,
                setting: format!("CONFIG_{}", need.setting),
                has,
                required: need.required,
            })
            .collect(),
    })
}

/// The modules of what is needed as such, with all that they need.
fn gather(
    found: &[(&Need, Has)],
    tree: Option<&ModuleTree>,
    version: &str,
) -> Result<Vec<Module>, SetupError> {
    let Some(tree) = tree else { return Ok(Vec::new()) };
    let names = found.iter().filter(|(_, has)| *has == Has::Module).filter_map(|(need, _)| need.module);
    let modules = tree.resolve(names)?;
    for module in &modules {
        if let Some(other) = module.info.kernel.as_deref().filter(|other| *other != version) {
            return Err(SetupError::OtherKernel {
                module: module.name.to_string(),
                found: other.into(),
                version: version.into(),
            });
        }
    }
    Ok(modules)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
