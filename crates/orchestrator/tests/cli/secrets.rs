//! Keys arrive unchanged, and are seen nowhere.

use std::fs;

use crate::process::{Service, finish, run, run_with_input};

/// Quotes, a dollar sign, spaces, a newline in the middle: everything that a shell or a file format could mangle.
const KEY: &str = "sk-canary-\"q\" 'x' $HOME `id`\n#two=lines\\n";

fn assert_unseen(text: &str) {
    for part in ["sk-canary", "$HOME", "two=lines"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_key_comes_from_a_file_or_standard_input_or_the_environment() {
    let service = Service::start(&["--log-level", "trace"]);
    let file = service.directory.path().join("key");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let mut seen = String::new();
    let create = ["seat", "create", "abc", "1"];

    // The first one makes the seat; the others find it, which they would not with any other key.
    for code in [0, 0] {
        let done =
            run(service.command(&create).args(["--api-key-file", "key", "--output", "json"])).code(code);
        seen += &format!("{done:?}");
    }
    let done =
        run_with_input(service.command(&create).args(["--api-key-file", "-"]), &format!("{KEY}\n")).code(0);
    seen += &format!("{done:?}");
    let done = run_with_input(service.command(&create).args(["--api-key-file", "-"]), KEY).code(0);
    seen += &format!("{done:?}");
    let done = run(service.command(&create).env("ORCHESTRATOR_API_KEY", KEY)).code(0);
    seen += &format!("{done:?}");
    // One newline belongs to the file; a second one is the key's.
    let done =
        run_with_input(service.command(&create).args(["--api-key-file", "-"]), &format!("{KEY}\n\n")).code(4);
    assert!(done.err.contains("another api_key"), "{}", done.err);
    seen += &format!("{done:?}");
    let class = ["class", "up", "abc", "--seats", "2", "--api-key-file", "key"];
    seen += &format!("{:?}", service.run(&class).code(0));
    seen += &format!("{:?}", service.run(&["class", "list", "abc", "--output", "json"]).code(0));

    assert_unseen(&seen);
    assert_unseen(&service.log());
}

#[test]
fn wrong_keys_are_refused_without_being_quoted() {
    let service = Service::start(&[]);
    for input in ["", "\n", "sk-canary-\"q\0", &format!("sk-canary-\"q{}", "k".repeat(5000))] {
        let mut command = service.command(&["seat", "create", "abc", "1", "--api-key-file", "-"]);
        let done = run_with_input(&mut command, input).code(2);
        assert!(done.err.contains("the api key from standard input: an api key"), "{}", done.err);
        assert_unseen(&done.err);
    }
}

#[test]
fn variables_come_from_a_file_unmangled() {
    let service = Service::start(&[]);
    fs::write(service.directory.path().join("vars"), "# comment\n\nA=x=\"y\" $z # kept\nB=\n").unwrap();
    service.run(&["seat", "create", "abc", "1", "--env-file", "vars"]).code(0);
    service.run(&["seat", "create", "abc", "1", "--env", "A=x=\"y\" $z # kept", "--env", "B="]).code(0);
    service.run(&["seat", "create", "abc", "1", "--env", "A=other", "--env", "B="]).code(4);
    fs::write(service.directory.path().join("bad"), "A=1\nsk-canary-\"q\n").unwrap();
    let done = service.run(&["seat", "create", "abc", "2", "--env-file", "bad"]).code(2);
    assert!(done.err.contains("bad:2: write it as NAME=VALUE"), "{}", done.err);
    assert_unseen(&done.err);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_list_shows_no_key_and_no_token() {
    let token = "sk-canary-t0ken-in-a-file";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, format!("{token}\n")).unwrap();
    let path = path.to_str().unwrap();
    let service = Service::start(&["--sim-latency", "300ms", "--token-file", path]);
    fs::write(service.directory.path().join("key"), KEY).unwrap();
    let client =
        service.spawn(&["seat", "create", "abc", "1", "--api-key-file", "key", "--token-file", path]);
    for pid in [client.id(), service.pid()] {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert_unseen(&text);
            assert!(!text.contains(token), "{text}");
        }
    }
    finish(client).code(0);
    assert!(!service.log().contains(token));
}

#[test]
fn a_token_lets_in_and_its_absence_does_not() {
    let service = Service::start_with(&[], &[("ORCHESTRATOR_TOKEN", "sk-canary-t0ken")]);
    let refused = service.run(&["class", "list"]).code(1);
    assert!(
        refused.err.contains("what to do: give the service's token with --token-file"),
        "{}",
        refused.err
    );
    run(service.command(&["class", "list"]).env("ORCHESTRATOR_TOKEN", "sk-canary-t0ken-other")).code(1);
    run(service.command(&["class", "list"]).env("ORCHESTRATOR_TOKEN", "sk-canary-t0ken")).code(0);
    fs::write(service.directory.path().join("token"), "sk-canary-t0ken\n").unwrap();
    service.run(&["class", "list", "--token-file", "token"]).code(0);
    run(service.command(&["class", "list"]).env("ORCHESTRATOR_TOKEN_FILE", "token")).code(0);
    assert!(!service.log().contains("sk-canary"), "{}", service.log());
}
