//! Layers, mistakes and what is printed of the configuration.

use std::fs;
use std::process::Command;

use rstest::rstest;
use tempfile::TempDir;

use crate::process::{Done, orchestrator, run};

fn directory(file: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("orchestrator.toml"), file).unwrap();
    directory
}

fn printed(file: &str, prepare: impl FnOnce(&mut Command)) -> Done {
    let directory = directory(file);
    let mut command = orchestrator(directory.path());
    command.args(["serve", "--print-config"]);
    prepare(&mut command);
    run(&mut command)
}

#[test]
fn a_file_is_below_the_environment_is_below_flags() {
    let file = "shutdown_timeout = \"5s\"\n[seats]\nmax = 10\ncpus = 0.5\nimage = \"a\"\n";
    let done = printed(file, |command| {
        command.env("ORCHESTRATOR_SEATS_CPUS", "1.5").env("ORCHESTRATOR_SEATS_IMAGE", "b");
        command.args(["--seats-image", "c"]);
    })
    .code(0);
    for line in [
        "shutdown_timeout = \"5s\" # orchestrator.toml:1",
        "max = 10 # orchestrator.toml:3",
        "cpus = 1.5 # environment variable ORCHESTRATOR_SEATS_CPUS",
        "image = \"c\" # flag --seats-image",
        "listen = \"127.0.0.1:8080\" # default",
    ] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let file =
        "[seats]\nmax = 7\nallowed_images = [\"a/b:1\", \"ghcr.io/x/*\"]\n[docker]\nlog_max_files = 0x3\n";
    let first = printed(file, |command| {
        command.args(["--docker-command", "node,/srv/index.js", "--docker-publish=127.0.0.1"]);
    })
    .code(0);
    let second = printed(&first.out, |_| ()).code(0);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first.out), values(&second.out));
    assert!(first.out.contains("command = [\"node\", \"/srv/index.js\"]"), "{}", first.out);
    assert!(first.out.contains("\"docker.io/a/b:1\"") || first.out.contains("\"a/b:1\""), "{}", first.out);
}

#[test]
fn a_later_layer_can_take_back() {
    let done = printed("[seats]\njwks_url = \"http://x\"\n[docker]\npublish = \"127.0.0.1\"\n", |command| {
        command.env("ORCHESTRATOR_SEATS_JWKS_URL", "").args(["--docker-publish", "off"]);
    })
    .code(0);
    assert!(done.out.contains("# jwks_url is off # environment variable"), "{}", done.out);
    assert!(done.out.contains("# publish is off # flag --docker-publish"), "{}", done.out);
}

#[rstest]
#[case::unknown_key("listn = \"x\"", "orchestrator.toml:1: unknown key \"listn\"; did you mean listen?")]
#[case::unknown_in_section(
    "\n[seats]\nmaks = 1",
    "orchestrator.toml:3: unknown key \"seats.maks\"; did you mean seats.max?"
)]
#[case::unknown_section(
    "[seets]\nmax = 1",
    "orchestrator.toml:1: unknown section \"seets\"; did you mean seats?"
)]
#[case::renamed(
    "[docker]\njwks_url = \"http://x\"",
    "orchestrator.toml:2: unknown key \"docker.jwks_url\"; it is called seats.jwks_url now"
)]
#[case::far_from_any("zzzzzzz = 1", "unknown key \"zzzzzzz\"\n")]
#[case::section_as_value("seats = 3", "seats is a section: write [seats]")]
#[case::value_as_section("[listen]\nx = 1", "listen: expected an address with a port")]
#[case::wrong_type(
    "[seats]\nmax = \"many\"",
    "orchestrator.toml:2: seats.max: expected a whole number from 1 to 9999, found \"many\""
)]
#[case::out_of_range("[seats]\nmax = 0", "found the number 0")]
#[case::number_for_duration("shutdown_timeout = 30", "expected a duration such as")]
#[case::list_element("[seats]\nallowed_images = [\"ok\", \"NOT OK\"]", "not an image reference")]
#[case::no_bool("[docker]\nisolate_seats = \"yes\"", "expected true or false, found \"yes\"")]
#[case::choice(
    "provider = \"dokcer\"",
    "expected one of \"docker\", \"microvm\", \"sim\", found \"dokcer\" (did you mean \"docker\"?)"
)]
#[case::level("[log]\nlevel = \"inof\"", "\"inof\" is no level")]
#[case::syntax("listen = \"x", "orchestrator.toml:1: this is not TOML")]
#[case::twice("provider = \"sim\"\nprovider = \"sim\"", "orchestrator.toml:2: this is not TOML")]
#[case::ceiling(
    "[seats]\npids = 600\nmax_pids = 500",
    "orchestrator.toml:2: seats.pids is above seats.max_pids"
)]
#[case::subnet("[docker]\nsubnet_prefix = 28", "docker.subnet_prefix /28 has no room for 100 seats")]
#[cfg_attr(
    target_os = "linux",
    case::microvm_subnet(
        "provider = \"microvm\"\n[microvm]\nsubnet_prefix = 28",
        "microvm.subnet_prefix /28 has no room for 100 seats"
    )
)]
#[case::microvm_memory(
    "[microvm]\nmemory_percent = 5",
    "microvm.memory_percent: expected a whole number from 10"
)]
#[case::microvm_network("[microvm]\negress_deny = [\"10.0.0.0\"]", "microvm.egress_deny: expected a list")]
#[cfg_attr(
    target_os = "linux",
    case::no_cni_network(
        "provider = \"microvm\"\n[microvm]\nnetwork = \"cni\"",
        "microvm.cni_network does not say which"
    )
)]
#[cfg_attr(
    target_os = "linux",
    case::cni_network(
        "provider = \"microvm\"\n[microvm]\nnetwork = \"cni\"\ncni_network = \"../x\"",
        "microvm.cni_network: \"../x\" is no name of a network"
    )
)]
#[case::docker_host("[docker]\nhost = \"ssh://x\"", "docker.host")]
#[case::no_time("[seats]\nstart_timeout = \"0s\"", "seats.start_timeout")]
#[case::public("listen = \"0.0.0.0:8080\"", "clients must send a token")]
fn mistakes_are_told(#[case] file: &str, #[case] message: &str) {
    let done = printed(file, |_| ()).code(2);
    assert!(done.err.contains(message), "{}", done.err);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let done = printed("lisen = 1\n[seats]\nmax = \"x\"\n", |command| {
        command.env("ORCHESTRATOR_SEATS_PIDS", "1").env("ORCHESTRATOR_LISEN", "sk-canary-value");
        command.args(["--seats-cpus", "-1"]);
    })
    .code(2);
    for message in [
        "5 mistakes",
        "unknown key \"lisen\"; did you mean listen?",
        "seats.max: expected",
        "environment variable ORCHESTRATOR_SEATS_PIDS: seats.pids: expected",
        "unknown environment variable \"ORCHESTRATOR_LISEN\"; did you mean ORCHESTRATOR_LISTEN?",
        "flag --seats-cpus: seats.cpus: expected a number of CPUs",
    ] {
        assert!(done.err.contains(message), "{message}: {}", done.err);
    }
    assert!(!done.err.contains("sk-canary"), "{}", done.err);
}

#[test]
fn a_mistake_that_a_flag_hides_is_still_told() {
    let done = printed("[seats]\nmax = \"x\"\n", |command| {
        command.args(["--seats-max", "3"]);
    });
    assert_eq!(done.code, 2);
}

#[test]
fn files_are_found_and_must_be_there_when_named() {
    let directory = directory("[seats]\nmax = 3\n");
    let other = directory.path().join("other.toml");
    fs::write(&other, "[seats]\nmax = 4\n").unwrap();
    let serve = |arguments: &[&str], variable: Option<&str>| {
        let mut command = orchestrator(directory.path());
        command.args(["serve", "--print-config"]).args(arguments);
        command.envs(variable.map(|path| ("ORCHESTRATOR_CONFIG", path)));
        run(&mut command)
    };
    assert!(serve(&[], None).code(0).out.contains("max = 3 # orchestrator.toml:2"));
    assert!(serve(&[], Some("other.toml")).code(0).out.contains("max = 4 # other.toml:2"));
    assert!(serve(&["--config", "orchestrator.toml"], Some("other.toml")).code(0).out.contains("max = 3"));
    let missing = serve(&["--config", "nowhere.toml"], None).code(2);
    assert!(missing.err.contains("cannot read nowhere.toml"), "{}", missing.err);
}

#[test]
fn the_engine_is_where_docker_host_says_unless_configured() {
    let docker_host = |command: &mut Command| {
        command.env("DOCKER_HOST", "unix:///run/other.sock");
    };
    let done = printed("", docker_host).code(0);
    assert!(done.out.contains("host = \"unix:///run/other.sock\" # environment variable DOCKER_HOST"));
    let done = printed("[docker]\nhost = \"unix:///x.sock\"\n", docker_host).code(0);
    assert!(done.out.contains("host = \"unix:///x.sock\" # orchestrator.toml:2"), "{}", done.out);
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_the_token_is_not_shown() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.168.1.2:8080"] {
        let done = printed("", |command| {
            command.args(["--listen", listen]);
        })
        .code(2);
        assert!(done.err.contains("set token_file or ORCHESTRATOR_TOKEN"), "{}", done.err);
    }
    for listen in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        printed("", |command| {
            command.args(["--listen", listen]);
        })
        .code(0);
    }
    let done = printed("listen = \"0.0.0.0:0\"", |command| {
        command.env("ORCHESTRATOR_TOKEN", "sk-canary-t0ken-of-the-test");
    })
    .code(0);
    assert!(done.out.contains("# token: set\n") && !done.out.contains("sk-canary"), "{}", done.out);
}

#[rstest]
#[case::empty(Some(""), None, "the token is empty")]
#[case::two_lines(Some("a\nb\n"), None, "one word of printable ASCII")]
#[case::both(Some("a\n"), Some("b"), "both set")]
#[case::missing(None, None, "cannot read the token file")]
fn wrong_tokens(#[case] file: Option<&str>, #[case] variable: Option<&str>, #[case] message: &str) {
    let directory = directory("token_file = \"token\"\n");
    if let Some(text) = file {
        fs::write(directory.path().join("token"), text).unwrap();
    }
    let mut command = orchestrator(directory.path());
    command.args(["serve", "--print-config"]).envs(variable.map(|token| ("ORCHESTRATOR_TOKEN", token)));
    let done = run(&mut command).code(2);
    assert!(done.err.contains(message), "{}", done.err);
}

#[test]
fn the_reference_has_every_setting() {
    let directory = directory("");
    let reference = run(orchestrator(directory.path()).arg("config-reference")).code(0).out;
    let printed = run(orchestrator(directory.path()).args(["serve", "--print-config"])).code(0).out;
    let mut section = String::new();
    for line in printed.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((key, _)) = line.split_once(" = ").or_else(|| line.split_once(" is off")) {
            assert!(reference.contains(&format!("| `{section}{key}` |")), "{section}{key}");
        }
    }
    assert_eq!(reference.trim_end(), orchestrator::config_reference().trim_end());
}

#[test]
fn the_documentation_has_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let document = fs::read_to_string(path).unwrap();
    let reference = orchestrator::config_reference();
    assert!(document.contains(reference.trim_end()), "put this into docs/operations.md:\n{reference}");
}

#[test]
fn settings_of_the_engine_do_not_matter_without_one() {
    let done = printed("[docker]\nsubnet_prefix = 28\n", |command| {
        command.args(["--provider", "sim"]).env("DOCKER_HOST", "tcp://10.0.0.1:2375");
    });
    assert_eq!(done.code, 0, "{}", done.err);
}

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
fn completions(#[case] shell: &str) {
    let directory = directory("");
    let done = run(orchestrator(directory.path()).args(["completions", shell])).code(0);
    assert!(done.out.contains("print-config") && done.out.contains("keep-data"), "{shell}");
}

#[test]
fn help_documents_exit_codes() {
    let directory = directory("");
    let done = run(orchestrator(directory.path()).arg("--help")).code(0);
    assert!(done.out.contains("Exit codes:\n  0  done"), "{}", done.out);
    run(orchestrator(directory.path()).arg("bogus")).code(2);
}
