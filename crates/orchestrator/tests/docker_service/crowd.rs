//! Many requests at once.

use std::collections::BTreeMap;

use docker_testbed::Host;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{client, serve, workshop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn fifty_creates_of_one_seat_are_one_201_and_forty_nine_200() {
    let host = Host::of_this_machine().await.unwrap();
    let (service, workshop) = (serve(&host, &[]), workshop());
    let seats = format!("{}/workshops/{workshop}/seats", service.url);
    let client = client();
    let body = json!({"seat": 1, "api_key": "sk-canary-fifty"});
    let answers = join_all((0..50).map(|_| client.post(format!("{seats}?wait=5m")).json(&body).send())).await;
    let mut counts = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for answer in answers {
        let answer = answer.unwrap();
        *counts.entry(answer.status().as_u16()).or_insert(0) += 1;
        let instance: Value = answer.json().await.unwrap();
        assert_eq!(instance["status"], "running");
        *ids.entry(instance["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(200, 49), (201, 1)]));
    assert_eq!(ids.len(), 1);
    assert_eq!(host.remains(&workshop).await.unwrap().containers.len(), 1);
    client.delete(format!("{}/workshops/{workshop}", service.url)).send().await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn two_hundred_creates_and_destroys_end_as_the_last_word_asked() {
    const SEATS: u32 = 10;
    let host = Host::of_this_machine().await.unwrap();
    let (service, workshop) = (serve(&host, &[]), workshop());
    let seats = format!("{}/workshops/{workshop}/seats", service.url);
    let client = client();
    let ask = |seat: u32, make: bool| {
        let (client, seats) = (client.clone(), seats.clone());
        async move {
            let request = if make {
                client.post(format!("{seats}?wait=5m")).json(&json!({"seat": seat}))
            } else {
                client.delete(format!("{seats}/{seat}"))
            };
            request.send().await.unwrap().status()
        }
    };
    // An order that looks random and is the same in every run.
    let crowd = (0..190u32).map(|n| (n % SEATS + 1, (n * 7919 / 13) % 3 != 0));
    let statuses = join_all(crowd.map(|(seat, make)| ask(seat, make))).await;
    for status in &statuses {
        // A create whose seat was destroyed before or while it was made says so; nothing else may go wrong.
        assert!(status.is_success() || *status == StatusCode::CONFLICT, "{statuses:?}");
    }
    let last = join_all((1..=SEATS).map(|seat| ask(seat, seat % 2 == 0))).await;
    assert!(last.iter().all(StatusCode::is_success), "{last:?}");

    let listed: Value = client.get(&seats).send().await.unwrap().json().await.unwrap();
    let there: Vec<_> =
        listed["seats"].as_array().unwrap().iter().map(|one| one["seat"].as_u64().unwrap()).collect();
    assert_eq!(there, [2, 4, 6, 8, 10]);
    let remains = host.remains(&workshop).await.unwrap();
    assert_eq!(
        (remains.containers.len(), remains.volumes.len(), remains.networks.len()),
        (5, 5, 1),
        "{remains}"
    );
    client.delete(format!("{}/workshops/{workshop}", service.url)).send().await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "docker tier: needs a Docker engine; cargo xtask test runs it"]
async fn a_client_that_goes_away_gets_a_whole_seat_or_none() {
    let host = Host::of_this_machine().await.unwrap();
    let (service, workshop) = (serve(&host, &[]), workshop());
    let seats = format!("{}/workshops/{workshop}/seats", service.url);
    let client = client();
    for seat in 1..=8u32 {
        let request = client.post(&seats).json(&json!({"seat": seat})).send();
        // Gone after a little longer for every seat: in the queue, in the middle, at the end.
        drop(tokio::time::timeout(std::time::Duration::from_millis(u64::from(seat) * 40), request).await);
    }
    // Whatever was begun ends by itself; asked again, everything is there.
    for seat in 1..=8u32 {
        let answer =
            client.post(format!("{seats}?wait=5m")).json(&json!({"seat": seat})).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
    assert_eq!(host.remains(&workshop).await.unwrap().containers.len(), 8);
    client.delete(format!("{}/workshops/{workshop}", service.url)).send().await.unwrap();
    assert!(host.remains(&workshop).await.unwrap().is_empty());
}
