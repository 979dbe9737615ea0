//! The fake against the real Firecracker: the same requests in the same order have the same answers, word for word, and the same end.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::bench::{Bench, real};
use scripts::{CASES, IN_PART, Script};

mod network;
mod scripts;
mod sockets;

#[tokio::test]
#[ignore = "needs a Firecracker and KVM"]
async fn the_fake_answers_as_the_real_one() -> Result<()> {
    let Some(program) = real()? else { return Ok(()) };
    let version = tokio::process::Command::new(&program).arg("--version").output().await?;
    println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default());
    let (real, fake) = (run(Some(&program)).await?, run(None).await?);
    same(&real, &fake)?;
    println!("{} answers are the same", real.len());
    Ok(())
}

#[tokio::test]
async fn the_fake_can_be_asked_all_that_the_real_one_is() -> Result<()> {
    let answers = run(None).await?;
    let asked: usize = CASES.iter().map(|case| case.script.len()).sum();
    ensure!(answers.len() == asked + CASES.len());
    Ok(())
}

/// All scripts, each with a process of its own: what was asked and how it was answered, and how the process ended.
async fn run(program: Option<&Path>) -> Result<Vec<String>> {
    let bench = Bench::new()?;
    let mut said = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let name = case.name;
        (case.before)(&bench.path("")).with_context(|| name)?;
        let mut monitor = bench.monitor(program, &format!("api-{number}.sock"))?;
        said.extend(asked(&bench, monitor.socket(), name, case.script).await?);
        let code = if case.ends { monitor.exited().await? } else { None };
        said.push(format!("{name}: ended with {code:?}"));
    }
    Ok(said)
}

/// What a process was asked by a script, and how it answered.
async fn asked(bench: &Bench, socket: &Path, name: &str, script: Script) -> Result<Vec<String>> {
    let folder = bench.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    provider_microvm::vmm::firecracker::Api::new(name, socket, Default::default()).opened().await?;
    let mut said = Vec::new();
    for (method, path, body) in script {
        let answer = ask(socket, method, path, &body.replace("DIR", folder)).await;
        let answer = answer.with_context(|| format!("{name}: {method} {path} {body}"))?;
        let answer = answer.replace(folder, "DIR");
        said.push(format!("{name}: {method} {path} {body}: {}", shortened(&answer)));
    }
    Ok(said)
}

/// Looks whether both have said the same.
fn same(real: &[String], fake: &[String]) -> Result<()> {
    for (real, fake) in real.iter().zip(fake) {
        ensure!(real == fake, "the real one: {real}\nthe fake:     {fake}");
    }
    ensure!(real.len() == fake.len());
    Ok(())
}

fn shortened(answer: &str) -> &str {
    let part = IN_PART.iter().find_map(|part| answer.find(part).map(|at| &answer[..at + part.len()]));
    part.unwrap_or(answer)
}

/// One request, as plain as can be: the status, and the words of the fault or the state.
async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    let whole = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            ensure!(count > 0, "no answer: {text:?}");
            continue;
        };
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length:")
            .map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default().trim().parse::<usize>());
        if count == 0 || body.len() >= length.transpose()?.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let status = whole.0.split(' ').nth(1).context("no status")?.to_owned();
    let body = whole.1;
    if body.is_empty() {
        return Ok(status);
    }
    let body: serde_json::Value = serde_json::from_str(&body).with_context(|| body.clone())?;
    let told = body["fault_message"].as_str().or_else(|| body["state"].as_str());
    Ok(format!("{status} {}", told.map_or_else(|| body.to_string(), str::to_owned)))
}
