//! `cargo xtask leaks`: what the service left on the engine.

use anyhow::{Result, bail};

use crate::{console, engine};

/// Lists it; in order means that there is nothing.
pub(crate) async fn run(workshop: Option<&str>) -> Result<bool> {
    if let Some(trouble) = engine::trouble().await {
        bail!(trouble);
    }
    let found = engine::objects(workshop).await?;
    for object in &found {
        console::line(&object.to_string());
    }
    if found.is_empty() {
        console::line("nothing: no container, network or volume with a label of ours");
    }
    Ok(found.is_empty())
}
