//! The same requests, by curl, to a service of Docker seats and to one of microVM seats: their answers are the same, byte for byte,
//! but for what is another one by its nature, and that is of the same kind.

use std::net::Ipv4Addr;
use std::process::Command;

use docker_testbed::{IMAGE, TestWorkshop};
use serde_json::{Deserializer, Value};

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

    /// An answer as it came, but that what is another one by its nature is told by its kind; and its document.
    fn ask(&self, method: &str, path: &str, body: &str) -> (String, Value) {
        let url = self.service.at(path);
        let mut arguments = vec!["-X", method, &url];
        if !body.is_empty() {
            arguments.extend(["-H", "content-type: application/json", "-d", body]);
        }
        let (head, body) = self.curl(&arguments);
        let document = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        let masked = self.masked(&body);
        let head: String = head
            .lines()
            .map(|line| match line.split_once(": ") {
                Some((name @ ("date" | "x-request-id" | "server-timing"), _)) => format!("{name}: …\n"),
                // Of what is compared: addresses are not all of one length.
                Some((name @ "content-length", length)) => {
                    assert_eq!(length.parse(), Ok(body.len()), "{}: {line}", self.provider);
                    format!("{name}: {}\n", masked.len())
                }
                _ => format!("{line}\n"),
            })
            .collect();
        (format!("{head}\n{masked}"), document)
    }

    /// The text of a document in which the values of ids, addresses and times are replaced by their kinds, and nothing else is touched.
    fn masked(&self, text: &str) -> String {
        let mut masked = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find('"') {
            let (before, from) = rest.split_at(begin);
            masked.push_str(before);
            let mut strings = Deserializer::from_str(from).into_iter::<String>();
            let string = strings.next().unwrap().unwrap();
            let (quoted, behind) = from.split_at(strings.byte_offset());
            masked.push_str(quoted);
            rest = behind;
            let Some(value) = rest.strip_prefix(':') else { continue };
            let mut values = Deserializer::from_str(value).into_iter::<Value>();
            let Some(kind) = self.kind(&string, &values.next().unwrap().unwrap()) else { continue };
            masked.push_str(&format!(":<{kind}>"));
            rest = &value[values.byte_offset()..];
        }
        masked + rest
    }

    /// What a value is, when it is another one by its nature; that it is of that kind is looked at.
    fn kind(&self, key: &str, value: &Value) -> Option<String> {
        let text = || value.as_str().unwrap_or_else(|| panic!("{}: {key}: {value}", self.provider));
        let address = |text: &str| assert!(text.parse::<Ipv4Addr>().is_ok(), "{}: {value}", self.provider);
        Some(match key {
            _ if value.is_null() => return None,
            "id" => {
                let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let is_id = text().len() == 64 && text().bytes().all(is_hex);
                assert!(is_id, "{}: {value}", self.provider);
                "64 hex digits".to_owned()
            }
            "ip" => {
                address(text());
                "an address".to_owned()
            }
            "endpoint" | "3001" | "3002" => {
                let (host, port) = text().strip_prefix("http://").unwrap().split_once(':').unwrap();
                address(host);
                format!("http://an address:{port}")
            }
            "created_at" => {
                let is_time = text().ends_with('Z') && text().as_bytes()[10] == b'T';
                assert!(is_time, "{}: {value}", self.provider);
                "a time".to_owned()
            }
            "provider" => {
                assert_eq!(text(), self.provider);
                "the provider".to_owned()
            }
            "request_id" | "instance" => "of the request".to_owned(),
            // Which stages a seat went through, and how long they took, is the provider's own.
            "timings" | "stages" => "stages".to_owned(),
            _ if key.ends_with("_ms") && value.is_number() => "a time".to_owned(),
            _ => return None,
        })
    }
}

/// Whether an answer has this status.
fn is_status(answer: &str, status: &str) -> bool {
    answer.lines().next().is_some_and(|line| line.split(' ').nth(1) == Some(status))
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
            assert!(is_status(&docker, status), "{method} {path} {body}: {docker}");
            if (method, path, status) == ("GET", first.as_str(), "200") {
                workspaces_answer_the_same(&sides, &[of_docker, of_microvm]);
            }
        }
        // A container between two starts has no address, and a machine whose workspace ended has; the rest is the same.
        let dying = format!(r#"{{"seat": 1, "image": "{IMAGE}:exits"}}"#);
        for side in &sides {
            let (answer, body) = side.ask("POST", &waiting, &dying);
            assert!(is_status(&answer, "201") && body["status"] == "error", "{answer}");
            let reason = body["reason"].as_str().unwrap();
            assert!(reason.starts_with("the workspace exits with code 3"), "{reason}");
            assert!(is_status(&side.ask("DELETE", &class, "").0, "204"));
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
            assert!(is_status(&answer, "201"), "{seat}");
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
        assert!(is_status(&sides[0].ask("DELETE", &class, "").0, "204"));
        has(1);
        assert!(is_status(&sides[1].ask("DELETE", &class, "").0, "204"));
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
