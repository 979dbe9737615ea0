//! `cargo xtask openapi`: the checked-in document and the code.
//!
//! The golden test of the api crate compares them, and writes the document when told to. It runs with the features of
//! the whole workspace, so that nothing is built twice for it.

use anyhow::Result;

use crate::child::show;
use crate::console;
use crate::repo::Repo;
use crate::stop::Stop;

/// Writes the document, or only compares.
pub(crate) async fn run(repo: &Repo, stop: &Stop, check: bool) -> Result<bool> {
    console::title("OpenAPI document");
    let mut cargo = repo.cargo();
    cargo.args(["test", "--quiet", "--workspace", "--test", "api", "--", "--exact"]);
    cargo.arg("openapi::the_checked_in_document_is_current");
    if check {
        cargo.env_remove("UPDATE_OPENAPI");
    } else {
        cargo.env("UPDATE_OPENAPI", "1");
    }
    let current = show(&mut cargo, stop).await?.success();
    if !current {
        console::error(
            "openapi/orchestrator.json is not what the code says; `cargo xtask openapi` writes it",
        );
    }
    Ok(current)
}
