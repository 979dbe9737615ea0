//! An api key goes into the seat and nowhere else.

use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use docker_testbed::Host;
use futures_util::StreamExt;
use serde_json::json;

use crate::{client, serve, workshop};

const KEY: &str = "sk-canary-\"quoted\" $HOME 'key'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn an_api_key_is_in_no_response_log_label_event_or_error() {
    let host = Host::of_this_machine().await.unwrap();
    // As talkative as it gets.
    let (service, workshop) = (serve(&host, &["--log-level=trace"]), workshop());
    let client = client();
    let seats = format!("{}/workshops/{workshop}/seats", service.url);
    let class = format!("{}/workshops/{workshop}", service.url);
    let mut said = String::new();
    let requests = [
        client.post(&seats).json(&json!({"seat": 1, "api_key": KEY})),
        // Twice, with another key, with a mistake beside it, with the key in the wrong place, as broken JSON.
        client.post(&seats).json(&json!({"seat": 1, "api_key": KEY})),
        client.post(&seats).json(&json!({"seat": 1, "api_key": format!("{KEY}2")})),
        client.post(&seats).json(&json!({"seat": 0, "api_key": KEY})),
        client.post(&seats).json(&json!({"seat": 2, "api_key": [KEY]})),
        client.post(&seats).json(&json!({"seat": 2, "env": {"ANTHROPIC_API_KEY": KEY}})),
        client
            .post(&seats)
            .header("content-type", "application/json")
            .body(format!("{{\"api_key\": {KEY:?}")),
        client.post(&seats).json(&json!({"seat": 3, "image": "localhost:9/none:1", "api_key": KEY})),
        client.put(&class).json(&json!({"seats": 2, "api_key": KEY, "api_keys": {"2": KEY}})),
        client.get(&seats),
        client.get(format!("{seats}/1")),
        client.get(&class),
        client.get(format!("{}/metrics", service.url)),
        client.get(format!("{}/workshops", service.url)),
    ];
    for request in requests {
        let answer = request.send().await.unwrap();
        let headers = format!("{:?}", answer.headers());
        said.push_str(&format!("{headers} {}\n", answer.text().await.unwrap()));
    }
    let name = format!("clarateach-{workshop}-1");
    let mut inspected = host.docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
    let env = inspected.config.as_mut().unwrap().env.take().unwrap();
    assert!(env.contains(&format!("ANTHROPIC_API_KEY={KEY}")), "the key did not arrive unchanged");
    said.push_str(&format!("{inspected:?}\n"));
    client.delete(&class).send().await.unwrap();

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (since, until) = ((now - 120).to_string(), (now + 1).to_string());
    let events = EventsOptionsBuilder::default().since(&since).until(&until).build();
    let events: Vec<_> = host.docker.events(Some(events)).collect().await;
    said.push_str(&format!("{events:?}\n{}", service.log()));
    assert!(service.log().lines().count() > 20, "the log was not captured");
    // Without its odd characters, which every format escapes in its own way.
    assert!(!said.contains("sk-canary"), "the key shows up");
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}
