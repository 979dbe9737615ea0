//! Simulated seats really answer, and stop answering when they are gone.

use std::time::Duration;

use provider_sim::{DEFAULT_IMAGE, SimProvider, World};
use seats::{DataPolicy, EnvVars, Limits, Provider, SeatBound, SeatRef, SeatSpec, Status, Timeline};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn get(endpoint: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: seat\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn every_port_answers_until_the_seat_is_gone() {
    let provider = SimProvider::new(World::default());
    let seat = SeatRef::new("abc".parse().unwrap(), SeatBound::default().seat(7).unwrap());
    let spec = SeatSpec {
        seat: seat.clone(),
        image: DEFAULT_IMAGE.parse().unwrap(),
        env: EnvVars::default(),
        limits: Limits::default(),
        api_key: None,
    };
    let made = provider.create(&spec, &Timeline::default()).await.unwrap();
    let seen = provider.settle(&made.instance, Duration::from_secs(60)).await.unwrap();
    assert_eq!((seen.status, seen.ports.as_slice()), (Status::Running, &[3001, 3002][..]));
    assert_eq!(seen.endpoints.len(), 2);
    for endpoint in seen.endpoints.values() {
        let answer = get(endpoint, "/health").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with(r#"{"status":"ok","workshop":"abc","seat":7}"#), "{answer}");
        assert!(get(endpoint, "/other").await.unwrap().starts_with("HTTP/1.1 404 "));
    }
    provider.destroy(&seat, DataPolicy::Remove).await.unwrap();
    assert!(provider.world().is_empty());
    tokio::time::timeout(Duration::from_secs(60), async {
        while get(seen.endpoint().unwrap(), "/health").await.is_ok_and(|answer| !answer.is_empty()) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
