//! The same requests, by curl, to a service of Docker seats and to one of microVM seats: their answers are the same but for what
//! is another one by its nature, and that is of the same kind.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;

use docker_testbed::{IMAGE, TestWorkshop};
use serde_json::{Map, Value};

use crate::host::Host;
use crate::isolated;
use crate::process::{Service, orchestrator};

/// Why there is no engine to compare with, if so.
pub(crate) fn no_engine() -> Option<String> {
    let asked = Command::new("docker").args(["image", "inspect", IMAGE]).output();
    match asked {
        Err(why) => Some(format!("docker: {why}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// A service, and how one gets to where it and its seats are.
struct Side {
    service: Service,
    provider: &'static str,
    enter: Vec<String>,
}

/// An answer, with what is another one by its nature told by its kind.
#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Side {
    fn command(&self, program: &str) -> Command {
        let mut words = self.enter.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command
    }

    /// What curl gets: the head and the body.
    fn curl(&self, arguments: &[&str]) -> (String, String) {
        let output = self.command("curl").args(["-s", "-i", "-m", "600"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{} {arguments:?}: {output:?}", self.provider);
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (Answer, Value) {
        let url = self.service.at(path);
        let mut arguments = vec!["-X", method, &url];
        if !body.is_empty() {
            arguments.extend(["-H", "content-type: application/json", "-d", body]);
        }
        let (head, body) = self.curl(&arguments);
        let mut lines = head.lines();
        let status = lines.next().unwrap().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let is_own = matches!(name, "date" | "x-request-id" | "content-length" | "server-timing");
            (name.to_owned(), if is_own { "…".to_owned() } else { value.to_owned() })
        });
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        let answer = Answer { status, headers: headers.collect(), body: self.masked("", &body) };
        (answer, body)
    }

    /// A document in which ids, addresses and times are told by their kind; that they are of it is looked at.
    fn masked(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                // Which stages a seat went through, and how long they took, is the provider's own.
                let own = ["timings", "stages"];
                let masked = members.iter().map(|(key, value)| {
                    let value =
                        if own.contains(&key.as_str()) { "…".into() } else { self.masked(key, value) };
                    (key.clone(), value)
                });
                Value::Object(masked.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(|item| self.masked(key, item)).collect(),
            Value::String(text) => self.masked_text(key, text).into(),
            Value::Number(_) if key.ends_with("_ms") => "a time".into(),
            other => other.clone(),
        }
    }

    fn masked_text(&self, key: &str, text: &str) -> String {
        let is_hex =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match key {
            "id" => {
                assert!(text.len() == 64 && is_hex(text), "{}: {text}", self.provider);
                "64 hex digits".to_owned()
            }
            "ip" => {
                let _: Ipv4Addr = text.parse().unwrap();
                "an address".to_owned()
            }
            "endpoint" | "3001" | "3002" => {
                let (address, port) = text.strip_prefix("http://").unwrap().split_once(':').unwrap();
                let _: Ipv4Addr = address.parse().unwrap();
                format!("http://an address:{port}")
            }
            "created_at" => {
                assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T', "{}: {text}", self.provider);
                "a time".to_owned()
            }
            "provider" => {
                assert_eq!(text, self.provider);
                "the provider".to_owned()
            }
            "request_id" | "instance" => "of the request".to_owned(),
            _ => text.to_owned(),
        }
    }
}

/// The service of Docker seats, in the network where the engine is: that of the process that started this one again.
fn over_docker() -> Side {
    let outside = rustix::process::getppid().unwrap().as_raw_nonzero();
    let enter = vec!["nsenter".to_owned(), format!("--net=/proc/{outside}/ns/net"), "--".to_owned()];
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(&enter[0]);
    command.args(&enter[1..]).arg(orchestrator(directory.path()).get_program());
    command.env_clear().current_dir(directory.path());
    command.args(["serve", "--provider=docker", "--listen=127.0.0.1:0", "--log-format=json"]);
    command.args(["--docker-pool=10.218.0.0/16", "--docker-metadata-guard=off", "--seats-image", IMAGE]);
    command.args(["--seats-cpus=1", "--seats-memory-mib=128", "--seats-pids=64", "--seats-stop-grace=5s"]);
    command.arg("--seats-start-timeout=240s");
    if let Some(host) = std::env::var_os("DOCKER_HOST") {
        command.arg("--docker-host").arg(host);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    Side {
        service: Service::launch(directory, {
            command.env("PATH", path);
            command
        }),
        provider: "docker",
        enter,
    }
}

fn over_microvms(host: &Host) -> Side {
    for tag in ["latest", "exits"] {
        let archive = host.folder().join(format!("archives/engine-{tag}.tar"));
        let saved =
            Command::new("docker").args(["save", &format!("{IMAGE}:{tag}"), "-o"]).arg(archive).status();
        assert!(saved.unwrap().success());
    }
    Side { service: host.serve(&["--seats-image", IMAGE]), provider: "microvm", enter: Vec::new() }
}

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and a Docker engine; cargo xtask test runs it"]
fn docker_and_microvm_seats_answer_the_same_but_for_ids_addresses_and_times() {
    if let Some(why) = no_engine() {
        return vm_testbed::skip(&why);
    }
    isolated!(docker_and_microvm_seats_answer_the_same_but_for_ids_addresses_and_times, || {
        let host = Host::new();
        let sides = [over_docker(), over_microvms(&host)];
        let workshop = TestWorkshop::new('v');
        let seats = format!("/workshops/{workshop}/seats");
        let (waiting, first, class) =
            (format!("{seats}?wait=5m"), format!("{seats}/1"), format!("/workshops/{workshop}"));
        let keeping = format!("{first}?keep_data=true");
        let wish = r#"{"seat": 1, "api_key": "sk-canary-same", "env": {"LESSON": "1"}}"#;
        let requests = [
            ("GET", seats.as_str(), "", "200"),
            ("GET", &class, "", "404"),
            ("GET", &first, "", "404"),
            ("POST", &waiting, wish, "201"),
            ("POST", &waiting, wish, "200"),
            ("POST", &waiting, r#"{"seat": 1, "api_key": "sk-canary-other", "env": {"LESSON": "2"}}"#, "409"),
            ("POST", &seats, r#"{"seat": 0, "limits": {"memory_mib": "much"}}"#, "400"),
            ("POST", &seats, r#"{"seat": 1, "#, "400"),
            ("GET", &seats, "", "200"),
            ("GET", &first, "", "200"),
            ("DELETE", &keeping, "", "204"),
            ("GET", &seats, "", "200"),
            ("DELETE", &first, "", "204"),
            ("DELETE", &first, "", "204"),
            ("PUT", &class, r#"{"seats": 2, "api_key": "sk-canary-class"}"#, "200"),
            ("PUT", &class, r#"{"seats": [2], "api_key": "sk-canary-class"}"#, "200"),
            ("GET", &class, "", "200"),
            ("PUT", &format!("{class}?prune=true"), r#"{"seats": [2], "api_key": "sk-canary-class"}"#, "200"),
            ("DELETE", &class, "", "204"),
            ("DELETE", &class, "", "204"),
            ("GET", &seats, "", "200"),
        ];
        for (method, path, body, status) in requests {
            let [(docker, of_docker), (microvm, of_microvm)] =
                [0, 1].map(|side: usize| sides[side].ask(method, path, body));
            assert_eq!(microvm, docker, "{method} {path} {body}: {of_microvm} and {of_docker}");
            assert!(docker.status.contains(status), "{method} {path} {body}: {docker:?}");
            if (method, path, status) == ("GET", first.as_str(), "200") {
                workspaces_answer_the_same(&sides, &[of_docker, of_microvm]);
            }
        }
        // A container between two starts has no address, and a machine whose workspace ended has; the rest is the same.
        let dying = format!(r#"{{"seat": 1, "image": "{IMAGE}:exits"}}"#);
        for side in &sides {
            let (answer, body) = side.ask("POST", &waiting, &dying);
            assert!(answer.status.contains("201") && body["status"] == "error", "{answer:?}");
            let reason = body["reason"].as_str().unwrap();
            assert!(reason.starts_with("the workspace exits with code 3"), "{reason}");
            assert!(side.ask("DELETE", &class, "").0.status.contains("204"));
        }
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and a Docker engine; cargo xtask test runs it"]
fn docker_and_microvm_seats_of_one_name_are_told_apart() {
    if let Some(why) = no_engine() {
        return vm_testbed::skip(&why);
    }
    isolated!(docker_and_microvm_seats_of_one_name_are_told_apart, || {
        let host = Host::new();
        let sides = [over_docker(), over_microvms(&host)];
        let workshop = TestWorkshop::new('v');
        let class = format!("/workshops/{workshop}");
        let waiting = format!("{class}/seats?wait=5m");
        let made = [0, 1].map(|side: usize| {
            let (answer, seat) = sides[side].ask("POST", &waiting, r#"{"seat": 1}"#);
            assert!(answer.status.contains("201"), "{seat}");
            seat
        });
        assert_ne!(made[0]["id"], made[1]["id"]);
        // Each side has its own, and answers there.
        let has = |side: usize| {
            let (_, listed) = sides[side].ask("GET", &format!("{class}/seats"), "");
            let ids: Vec<_> = listed["seats"].as_array().unwrap().iter().map(|seat| &seat["id"]).collect();
            assert_eq!(ids, [&made[side]["id"]], "{listed}");
            let health = format!("{}/health", made[side]["endpoint"].as_str().unwrap());
            assert!(sides[side].curl(&[&health]).0.contains("200"), "{health}");
        };
        has(0);
        has(1);
        // What goes on one side stays on the other.
        assert!(sides[0].ask("DELETE", &class, "").0.status.contains("204"));
        has(1);
        assert!(sides[1].ask("DELETE", &class, "").0.status.contains("204"));
        for side in &sides {
            assert_eq!(side.ask("GET", &format!("{class}/seats"), "").1["seats"], serde_json::json!([]));
        }
    });
}

/// The workspace itself, as a learner's browser comes to it.
fn workspaces_answer_the_same(sides: &[Side; 2], seats: &[Value; 2]) {
    for port in ["3001", "3002"] {
        for path in ["/health", "/nothing"] {
            let [docker, microvm] = [0, 1].map(|side: usize| {
                let url = format!("{}{path}", seats[side]["endpoints"][port].as_str().unwrap());
                let (head, body) = sides[side].curl(&[&url]);
                let head: Vec<_> =
                    head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect();
                (head, body)
            });
            assert_eq!(microvm, docker, "{port}{path}");
        }
    }
}
