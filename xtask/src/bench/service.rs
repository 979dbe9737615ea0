//! The service, as its clients see it.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::objects::{API_KEY, CPUS, MEMORY_MIB, PIDS};
use super::ways::Made;

/// How long a connection is kept that nobody uses: less than the service does, which would close it under the next request.
const IDLE: Duration = Duration::from_secs(5);

/// A client with connections that stay open.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    /// The service's process id.
    pub(super) id: i32,
}

impl Client {
    pub(super) fn new(url: String, id: i32) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().pool_idle_timeout(IDLE).build()?;
        Ok(Self { http, url, id })
    }

    /// Whether it serves requests.
    pub(super) async fn lives(&self) -> bool {
        let answer = self.http.get(format!("{}/livez", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Brings a class up; an error when a single seat is not up then.
    pub(super) async fn create(&self, workshop: &str, seats: u16, image: &str) -> Result<Made> {
        self.grow(workshop, 0..seats, image).await
    }

    /// Brings a class up from so many seats that it has to so many that it is to have; what is told is of the new ones.
    pub(super) async fn grow(&self, workshop: &str, seats: Range<u16>, image: &str) -> Result<Made> {
        let (status, body) = self.try_create(workshop, seats.end, image).await?;
        ensure!(
            status == StatusCode::OK && body["converged"] == true && body["counts"]["created"] == seats.len(),
            "the class did not come up: {status} {body}"
        );
        let mut made = Made::default();
        let created = |seat: &&Value| seat["outcome"] == "created";
        for seat in body["seats"].as_array().context("no seats")?.iter().filter(created) {
            let ip =
                seat["instance"]["ip"].as_str().with_context(|| format!("a seat has no address: {seat}"))?;
            made.addresses.push(ip.parse()?);
            for (stage, took) in seat["timings"].as_object().context("no timings")? {
                made.stages.entry(stage.clone()).or_default().push(took.as_f64().unwrap_or_default());
            }
        }
        Ok(made)
    }

    /// Asks for a class, and tells what was answered.
    pub(super) async fn try_create(
        &self,
        workshop: &str,
        seats: u16,
        image: &str,
    ) -> Result<(StatusCode, Value)> {
        let limits = json!({ "cpus": CPUS, "memory_mib": MEMORY_MIB, "pids": PIDS });
        let wish = json!({ "seats": seats, "image": image, "api_key": API_KEY, "limits": limits });
        let response = self.http.put(self.workshop(workshop)).json(&wish).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Takes a class down.
    pub(super) async fn destroy(&self, workshop: &str) -> Result<()> {
        self.delete(self.workshop(workshop)).await
    }

    /// Takes one seat of a class away.
    pub(super) async fn destroy_seat(&self, workshop: &str, seat: u16) -> Result<()> {
        self.delete(format!("{}/seats/{seat}", self.workshop(workshop))).await
    }

    async fn delete(&self, url: String) -> Result<()> {
        let response = self.http.delete(&url).send().await?;
        let status = response.status();
        ensure!(
            status == StatusCode::NO_CONTENT,
            "{url} is still there: {status} {}",
            response.text().await?
        );
        Ok(())
    }

    /// Lists a class; returns how many of its seats run.
    pub(super) async fn list(&self, workshop: &str) -> Result<usize> {
        Ok(self.states(workshop).await?.iter().filter(|state| *state == "running").count())
    }

    /// The states of a class's seats.
    pub(super) async fn states(&self, workshop: &str) -> Result<Vec<String>> {
        let bytes = self.list_bytes(workshop).await?;
        let body: Value = serde_json::from_slice(&bytes)?;
        let seats = body["seats"].as_array().context("no seats")?;
        Ok(seats.iter().filter_map(|seat| seat["status"].as_str()).map(str::to_owned).collect())
    }

    /// Lists a class and leaves the answer unread.
    pub(super) async fn list_bytes(&self, workshop: &str) -> Result<Vec<u8>> {
        let response = self.http.get(format!("{}/seats", self.workshop(workshop))).send().await?;
        Ok(response.error_for_status()?.bytes().await?.to_vec())
    }

    fn workshop(&self, id: &str) -> String {
        format!("{}/workshops/{id}", self.url)
    }
}
