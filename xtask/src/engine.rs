//! The Docker engine as an outsider sees it: through the plain `docker` command.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use crate::child::output;

/// Something that carries a label of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    /// `container`, `network` or `volume`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// Its labels, as docker prints them.
    labels: String,
}

impl Object {
    /// The workshop that it belongs to.
    pub(crate) fn workshop(&self) -> Option<&str> {
        self.labels.split(',').find_map(|label| label.strip_prefix("clarateach.workshop="))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9}  {}", self.kind, self.name)
    }
}

/// Why no engine can be used, if so.
pub(crate) async fn trouble() -> Option<String> {
    let mut docker = Command::new("docker");
    docker.args(["version", "--format", "{{.Server.Version}}"]);
    match output(&mut docker).await {
        Ok(_) => None,
        Err(_) if !crate::child::installed("docker") => Some(String::from("docker is not installed")),
        Err(_) => Some(String::from("no Docker engine answers (scripts/ensure-docker.sh starts one)")),
    }
}

/// Everything with a label of ours, or of one workshop.
pub(crate) async fn objects(workshop: Option<&str>) -> Result<BTreeSet<Object>> {
    let mut found = BTreeSet::new();
    for (kind, arguments) in [
        ("container", ["ps", "--all", "--no-trunc", "--format", "{{.Names}}\t{{.Labels}}"].as_slice()),
        ("network", &["network", "ls", "--no-trunc", "--format", "{{.Name}}\t{{.Labels}}"]),
        ("volume", &["volume", "ls", "--format", "{{.Name}}\t{{.Labels}}"]),
    ] {
        let list = output(Command::new("docker").args(arguments)).await?;
        found.extend(list.lines().filter_map(|line| parse(kind, line)));
    }
    found.retain(|object| workshop.is_none() || object.workshop() == workshop);
    Ok(found)
}

/// Whether an engine keeps a network because it lost count of what is attached: nothing is, and it says "in use" all the same
/// (docs/performance.md, "A stuck network"). A network that is only left over is removed by the question.
pub(crate) async fn is_stuck(network: &str) -> Result<bool> {
    let format = ["network", "inspect", "--format", "{{len .Containers}}", network];
    if output(Command::new("docker").args(format)).await?.trim() != "0" {
        return Ok(false);
    }
    let removed = output(Command::new("docker").args(["network", "rm", network])).await;
    Ok(removed.is_err_and(|why| format!("{why:#}").contains("active endpoints")))
}

/// Removes everything that carries the label of a workshop.
pub(crate) async fn remove(workshop: &str) -> Result<()> {
    let found = objects(Some(workshop)).await?;
    for (kind, command) in [
        ("container", ["rm", "--force", "--volumes"].as_slice()),
        ("volume", &["volume", "rm"]),
        ("network", &["network", "rm"]),
    ] {
        let names: Vec<_> = found.iter().filter(|object| object.kind == kind).map(|one| &one.name).collect();
        if !names.is_empty() {
            let mut docker = Command::new("docker");
            output(docker.args(command).args(names).stdout(Stdio::piped())).await?;
        }
    }
    Ok(())
}

fn parse(kind: &'static str, line: &str) -> Option<Object> {
    let (name, labels) = line.split_once('\t')?;
    let ours = labels.split(',').any(|label| label.starts_with("clarateach."));
    ours.then(|| Object { kind, name: name.to_owned(), labels: labels.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_of_ours_count() {
        assert_eq!(parse("volume", "clarateach-x-1-data\t"), None);
        assert_eq!(parse("volume", "x\torg.clarateach.image.key=1,a=clarateach.type"), None);
        let object =
            parse("volume", "x\ta=b,clarateach.type=workspace-data,clarateach.workshop=abc").unwrap();
        assert_eq!((object.name.as_str(), object.workshop()), ("x", Some("abc")));
    }
}
