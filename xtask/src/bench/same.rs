//! The proof that the floor makes what the service makes: one seat of each, inspected, and compared.

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions};
use serde_json::Value;

use super::floor::Floor;
use super::objects::{container_name, network_name};
use super::service::Client;
use super::sweep;

/// Makes a seat each way and compares what the engine says of both. Also the first of everything, so that no
/// measured turn is.
pub(super) async fn prove(docker: &Docker, service: &Client, image: &str) -> Result<()> {
    let (by_hand, by_service) = (sweep::workshop(), sweep::workshop());
    let floor = Floor { docker, workshop: &by_hand, width: 1, ready: true };
    floor.create(1, image).await?;
    service.create(&by_service, 1, image).await?;
    let (ours, theirs) = (look(docker, &by_hand).await?, look(docker, &by_service).await?);
    sweep::judge(docker, &by_hand, floor.destroy(1).await).await?;
    sweep::judge(docker, &by_service, service.destroy(&by_service).await).await?;
    let differences = differences("", &ours, &theirs);
    ensure!(
        differences.is_empty(),
        "the floor does not make what the service makes; see bench/objects.rs: {}",
        differences.join("; ")
    );
    Ok(())
}

/// What must be the same, without what names the workshop and the attempt.
async fn look(docker: &Docker, workshop: &str) -> Result<Value> {
    let name = container_name(workshop, 1);
    let container = docker.inspect_container(&name, None::<InspectContainerOptions>).await?;
    let network = docker.inspect_network(&network_name(workshop), None::<InspectNetworkOptions>).await?;
    let id = network.id.clone().unwrap_or_default();
    let subnet = network.ipam.and_then(|ipam| ipam.config?.into_iter().next()?.subnet).unwrap_or_default();
    let mut seen = serde_json::json!({
        "config": container.config,
        "host_config": container.host_config,
        "mounts": container.mounts.map(|mounts| mounts.len()),
        "network": {
            "driver": network.driver,
            "ipv6": network.enable_ipv6,
            "internal": network.internal,
            "labels": network.labels,
            "options": network.options,
            "prefix": subnet.split_once('/').map(|(_, prefix)| prefix),
        },
    });
    let attempt = seen["network"]["labels"]["clarateach.create-id"].as_str().unwrap_or_default().to_owned();
    if let Some(bridge) = seen.pointer_mut("/network/options/com.docker.network.bridge.name") {
        *bridge = Value::from("BRIDGE");
    }
    if let Some(attempt) = seen.pointer_mut("/config/Labels/clarateach.create-id") {
        *attempt = Value::from("ATTEMPT");
    }
    let text = seen.to_string().replace(workshop, "WORKSHOP").replace(&id, "NETWORK");
    let text = if attempt.is_empty() { text } else { text.replace(&attempt, "ATTEMPT") };
    Ok(serde_json::from_str(&text)?)
}

/// The paths at which two values differ.
fn differences(path: &str, one: &Value, two: &Value) -> Vec<String> {
    if one == two {
        return Vec::new();
    }
    let (Value::Object(left), Value::Object(right)) = (one, two) else {
        return vec![format!("{path}: {one} here, {two} there")];
    };
    let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().flat_map(|key| differences(&format!("{path}/{key}"), &one[key], &two[key])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_say_where() {
        let (one, two) = (json!({"a": 1, "b": {"c": 2}}), json!({"b": {"c": 3}, "a": 1}));
        assert_eq!(differences("", &one, &two), ["/b/c: 2 here, 3 there"]);
        assert_eq!(differences("", &json!({"a": 1}), &json!({})), ["/a: 1 here, null there"]);
        assert!(differences("", &one, &one).is_empty());
    }
}
