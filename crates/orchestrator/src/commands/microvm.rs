//! `orchestrator microvm …`: what a host needs before it runs seats as microVMs, without the service.
//!
//! ```text
//!   setup    kernel, modules, agent ─► guest_boot::setup ─► {state_dir}/microvm/boot
//!   status   {state_dir}/microvm/boot ─► guest_boot::Boot
//! ```

mod agent;
mod setup;

use std::path::PathBuf;

use guest_boot::{Boot, BootError};
use seats::Finding;
use serde_json::{Value, json};

use super::{configured, findings};
use crate::cli::Microvm;
use crate::config::{Config, Surroundings};
use crate::exit::Exit;
use crate::ui::Ui;

pub(super) fn run(command: Microvm, surroundings: &Surroundings, ui: Ui) -> anyhow::Result<Exit> {
    match command {
        Microvm::Setup { from, agent, place } => {
            setup::run(from, agent, &configured(&place, surroundings)?, ui)
        }
        Microvm::Status { place } => status(&configured(&place, surroundings)?, ui),
    }
}

/// Is the keeper of one microVM, until that is over.
#[cfg(target_os = "linux")]
pub(super) fn keep() -> Exit {
    if provider_microvm::vmm::keeper::run() == std::process::ExitCode::SUCCESS {
        Exit::Ok
    } else {
        Exit::Failure
    }
}

/// Where prepared kernels are kept.
pub(super) fn boot_folder(config: &Config) -> PathBuf {
    config.settings.state_dir.join("microvm/boot")
}

fn status(config: &Config, ui: Ui) -> anyhow::Result<Exit> {
    let opened = Boot::open(&boot_folder(config));
    let document = opened.as_ref().map_or(Value::Null, |boot| {
        json!({ "boot": {
            "id": boot.id().as_str(),
            "kernel": boot.kernel(),
            "initramfs": boot.initramfs(),
            "version": boot.about().kernel,
            "format": boot.about().format,
            "modules": boot.about().modules,
        }})
    });
    findings::show(&[prepared(&opened)], document, ui)
}

/// Whether a kernel is prepared, and which.
pub(super) fn prepared(opened: &Result<Boot, BootError>) -> Finding {
    const NAME: &str = "guest kernel";
    match opened {
        Ok(boot) => {
            let (version, format) = (&boot.about().kernel, boot.about().format);
            let modules = match boot.about().modules.len() {
                0 => "no modules".to_owned(),
                count => format!("{count} modules"),
            };
            Finding::ok(NAME, format!("Linux {version} ({format}), {modules}, prepared as {}", boot.id()))
        }
        Err(why) => Finding::error(
            NAME,
            why.to_string(),
            "'make microvm-setup', or 'orchestrator microvm setup --from' the folder of an unpacked kernel package",
        ),
    }
}
