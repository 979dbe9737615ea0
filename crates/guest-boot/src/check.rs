//! What a seat needs of a kernel.
//!
//! A feature is looked for in three places, from the surest to the least sure: the kernel's configuration, the list of what is part of the
//! kernel (`modules.builtin`), and the module's file. What none of them tells, such as an option that is no module of a kernel without a
//! configuration, counts as unknown and is not held against it: the first boot tells.

use serde::{Deserialize, Serialize};

use crate::kernel::{Config, Setting};
use crate::modules::{ModuleName, ModuleTree};

/// One thing that a seat needs of its kernel, or can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is for, in a few words.
    pub what: &'static str,
    /// The kernel's setting, without `CONFIG_`.
    pub setting: &'static str,
    /// The module that it is, when it is none of the kernel's own parts; nothing for what can be no module.
    pub module: Option<&'static str>,
    /// Whether seats cannot be without it.
    pub required: bool,
}

/// How a kernel has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Has {
    /// Part of the kernel.
    BuiltIn,
    /// A module, which the first root brings.
    Module,
    /// Not at all.
    Missing,
    /// Nothing says whether.
    Unknown,
}

const fn part(what: &'static str, setting: &'static str) -> Need {
    Need { what, setting, module: None, required: true }
}

const fn module(what: &'static str, setting: &'static str, module: &'static str) -> Need {
    Need { what, setting, module: Some(module), required: true }
}

const fn wished(what: &'static str, setting: &'static str, module: Option<&'static str>) -> Need {
    Need { what, setting, module, required: false }
}

/// Everything that is looked for, in the order in which modules are loaded.
pub const NEEDS: &[Need] = &[
    part("a first root", "BLK_DEV_INITRD"),
    part("programs", "BINFMT_ELF"),
    part("device files", "DEVTMPFS"),
    part("files in memory", "TMPFS"),
    part("terminals", "UNIX98_PTYS"),
    part("control groups", "CGROUPS"),
    part("a bound on processes", "CGROUP_PIDS"),
    part("TCP/IP", "INET"),
    part("local sockets", "UNIX"),
    part("the serial console", "SERIAL_8250_CONSOLE"),
    module("virtio over MMIO", "VIRTIO_MMIO", "virtio_mmio"),
    module("disks", "VIRTIO_BLK", "virtio_blk"),
    module("the network", "VIRTIO_NET", "virtio_net"),
    module("the link to the agent under QEMU", "VIRTIO_CONSOLE", "virtio_console"),
    module("the file system of disks", "EXT4_FS", "ext4"),
    module("a seat's layer over its image", "OVERLAY_FS", "overlay"),
    wished("the link to the agent under Firecracker", "VIRTIO_VSOCKETS", Some("vmw_vsock_virtio_transport")),
    wished("random numbers of the host", "HW_RANDOM_VIRTIO", Some("virtio_rng")),
    wished("giving memory back", "VIRTIO_BALLOON", Some("virtio_balloon")),
    wished("a bound on memory within the guest", "MEMCG", None),
];

/// How the kernel has it.
#[must_use]
pub fn look(need: &Need, config: Option<&Config>, modules: Option<&ModuleTree>) -> Has {
    let file = need.module.map(ModuleName::new);
    let file = file.as_ref().zip(modules);
    let is_there = || file.is_some_and(|(name, modules)| modules.has(name));
    if let Some(config) = config {
        return match config.get(need.setting) {
            Some(Setting::BuiltIn | Setting::Value(_)) => Has::BuiltIn,
            Some(Setting::Module) if is_there() => Has::Module,
            Some(Setting::Module) | None => Has::Missing,
        };
    }
    match file.and_then(|(name, modules)| modules.is_builtin(name)) {
        Some(true) => Has::BuiltIn,
        _ if is_there() => Has::Module,
        Some(false) => Has::Missing,
        None => Has::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn need(setting: &str) -> &'static Need {
        NEEDS.iter().find(|need| need.setting == setting).unwrap()
    }

    #[test]
    fn the_configuration_counts_first_and_a_module_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("6.1.0");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("overlay.ko"), "").unwrap();
        let modules = ModuleTree::open(&root).unwrap();
        let config = Config::parse("CONFIG_INET=y\nCONFIG_OVERLAY_FS=m\nCONFIG_EXT4_FS=m\n");
        let look = |setting| look(need(setting), Some(&config), Some(&modules));
        assert_eq!(look("INET"), Has::BuiltIn);
        assert_eq!(look("OVERLAY_FS"), Has::Module);
        assert_eq!(look("EXT4_FS"), Has::Missing, "the configuration says module, and there is no file");
        assert_eq!(look("TMPFS"), Has::Missing);
    }

    #[test]
    fn without_a_configuration_the_lists_count_and_the_rest_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("6.1.0");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("overlay.ko"), "").unwrap();
        let look = |setting| look(need(setting), None, Some(&ModuleTree::open(&root).unwrap()));
        assert_eq!(look("OVERLAY_FS"), Has::Module);
        assert_eq!(look("EXT4_FS"), Has::Unknown);
        assert_eq!(look("INET"), Has::Unknown);
        fs::write(root.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        assert_eq!(look("EXT4_FS"), Has::BuiltIn);
        assert_eq!(look("VIRTIO_BLK"), Has::Missing);
        assert_eq!(super::look(need("EXT4_FS"), None, None), Has::Unknown);
    }

    /// The one of `make kernel`: whatever is looked for here is asked for there.
    #[test]
    fn a_kernel_of_our_own_has_everything_in_itself() {
        let fragment = include_str!("../../../images/kernel/seat.config");
        let config = Config::parse(fragment);
        for need in NEEDS {
            let has = look(need, Some(&config), None);
            assert_eq!(
                has,
                Has::BuiltIn,
                "images/kernel/seat.config has no CONFIG_{}=y ({})",
                need.setting,
                need.what
            );
        }
        assert!(!fragment.lines().any(|line| line.starts_with("CONFIG_") && line.ends_with("=m")));
        assert_eq!(config.get("MODULES"), None);
        // How monitors enter the ELF file.
        assert_eq!(config.get("PVH"), Some(&Setting::BuiltIn));
    }

    #[test]
    fn settings_are_named_once() {
        let mut settings: Vec<_> = NEEDS.iter().map(|need| need.setting).collect();
        settings.sort_unstable();
        settings.dedup();
        assert_eq!(settings.len(), NEEDS.len());
    }
}
