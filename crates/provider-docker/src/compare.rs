//! Is what is there what is asked for?

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use seats::{ImageRef, SeatSpec, SpecDifference, workspace};

use crate::{names, payload};

/// In what a container differs from the spec; empty when it is the same seat.
///
/// A container that the scripts made carries no record of the limits and variables it was asked for, so it is
/// not held to those; its image and its key tell what it is.
pub(crate) fn differences(spec: &SeatSpec, inspected: &ContainerInspectResponse) -> Vec<SpecDifference> {
    let config = inspected.config.clone().unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let env: HashMap<&str, &str> =
        config.env.iter().flatten().filter_map(|variable| variable.split_once('=')).collect();
    let is_ours = labels.contains_key(names::CREATE_ID);
    let mut found = Vec::new();

    let image = labels.get(names::IMAGE).or(config.image.as_ref());
    let same_image = image.and_then(|text| text.parse::<ImageRef>().ok()) == Some(spec.image.clone());
    if !same_image {
        found.push(SpecDifference::Image);
    }
    let same_names =
        !is_ours || labels.get(names::ENV).is_some_and(|known| *known == payload::env_names(spec));
    let same_values = spec.env.iter().all(|(name, value)| env.get(name) == Some(&value));
    if !(same_names && same_values) {
        found.push(SpecDifference::Env);
    }
    if is_ours && labels.get(names::LIMITS) != Some(&payload::limits_text(spec.limits)) {
        found.push(SpecDifference::Limits);
    }
    let key = env.get(workspace::API_KEY).copied().filter(|key| !key.is_empty());
    if key != spec.api_key.as_ref().map(seats::ApiKey::expose) {
        found.push(SpecDifference::ApiKey);
    }
    found
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;
    use seats::{ApiKey, EnvVars, Limits};

    use super::*;
    use crate::DockerConfig;
    use crate::payload::{Attempt, example as spec};

    /// What the engine shows of a container made for a spec.
    fn made(spec: &SeatSpec) -> ContainerInspectResponse {
        let attempt = Attempt { create_id: "c", network_id: "n", ports: &[3001] };
        let body = payload::container(&DockerConfig::default(), spec, &attempt);
        let mut env = body.env.unwrap();
        env.push("PATH=/bin".into());
        ContainerInspectResponse {
            config: Some(ContainerConfig {
                image: body.image,
                env: Some(env),
                labels: body.labels,
                ..ContainerConfig::default()
            }),
            // What an engine shows that enforces none of them.
            host_config: None,
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn the_same_spec_is_the_same_seat() {
        assert_eq!(differences(&spec(), &made(&spec())), []);
    }

    #[test]
    fn each_difference_is_named() {
        let there = made(&spec());
        let other = SeatSpec { image: "other".parse().unwrap(), ..spec() };
        assert_eq!(differences(&other, &there), [SpecDifference::Image]);
        let other = SeatSpec { limits: Limits { pids: 98, ..spec().limits }, ..spec() };
        assert_eq!(differences(&other, &there), [SpecDifference::Limits]);
        for api_key in [None, Some(ApiKey::new("sk=2".into()).unwrap())] {
            assert_eq!(differences(&SeatSpec { api_key, ..spec() }, &there), [SpecDifference::ApiKey]);
        }
        for (name, value) in [("LESSON", "two"), ("MORE", "x")] {
            let mut other = spec();
            other.env.insert(name, value.into()).unwrap();
            assert_eq!(differences(&other, &there), [SpecDifference::Env]);
        }
        assert_eq!(
            differences(&SeatSpec { env: EnvVars::default(), ..spec() }, &there),
            [SpecDifference::Env]
        );
    }

    #[test]
    fn a_seat_of_the_scripts_is_held_to_its_image_and_key() {
        let mut there = made(&spec());
        let config = there.config.as_mut().unwrap();
        let labels = config.labels.as_mut().unwrap();
        for ours in [names::CREATE_ID, names::IMAGE, names::PORTS, names::ENV, names::LIMITS] {
            labels.remove(ours);
        }
        config.env.as_mut().unwrap().retain(|variable| !variable.starts_with("LESSON="));
        let wanted = SeatSpec { env: EnvVars::default(), ..spec() };
        assert_eq!(differences(&wanted, &there), []);
        assert_eq!(differences(&SeatSpec { api_key: None, ..wanted }, &there), [SpecDifference::ApiKey]);
    }
}
