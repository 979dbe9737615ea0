use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The specification's own example, with a comment that JSON has not left out.
const EXAMPLE: &str = r#"{
  "cniVersion": "1.1.0", "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"], "name": "dbnet",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "keyA": ["some more", "plugin specific", "configuration"],
     "ipam": {"type": "host-local", "subnet": "10.1.0.0/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
     "dns": {"nameservers": ["10.1.0.1"]}},
    {"type": "tuning", "capabilities": {"mac": true}, "sysctl": {"net.core.somaxconn": "500"}},
    {"type": "portmap", "capabilities": {"portMappings": true, "mac": false}}
  ]}"#;

fn why(text: &str) -> String {
    NetworkList::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_specification_is_read() {
    let list = NetworkList::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(list.name().as_str(), "dbnet");
    assert_eq!(list.versions().last(), Some(&SpecVersion::V1_1_0));
    assert_eq!(list.versions().len(), 4);
    let programs: Vec<_> = list.programs().map(PluginName::as_str).collect();
    assert_eq!(programs, ["bridge", "tuning", "portmap"]);
    let again = NetworkList::from_value(&list.to_value()).unwrap();
    assert_eq!((again.plugins(), again.versions()), (list.plugins(), list.versions()));
}

#[test]
fn a_plugin_gets_what_the_specification_says() {
    let list = NetworkList::parse(EXAMPLE.as_bytes()).unwrap();
    let before = json!({"ips": [{"address": "10.1.0.5/16"}]});
    let ours = json!({"mac": "02:00:00:00:00:01", "ips": ["10.1.0.5/16"]});
    let ours = ours.as_object().unwrap();
    let request = |number: usize, before| {
        list.plugins()[number].request(list.name(), SpecVersion::V1_0_0, before, ours)
    };
    let bridge = request(0, None);
    assert_eq!(bridge["cniVersion"], "1.0.0");
    assert_eq!(bridge["name"], "dbnet");
    assert_eq!(bridge["keyA"][2], "configuration");
    assert_eq!(bridge["ipam"]["routes"][0]["dst"], "0.0.0.0/0");
    assert!(bridge.get("prevResult").is_none() && bridge.get("runtimeConfig").is_none());
    let tuning = request(1, Some(&before));
    assert_eq!(tuning["runtimeConfig"], json!({"mac": "02:00:00:00:00:01"}));
    assert_eq!(tuning["prevResult"], before);
    assert!(tuning.get("capabilities").is_none());
    assert!(request(2, Some(&before)).get("runtimeConfig").is_none());
}

#[test]
fn what_is_wrong_is_said() {
    assert!(why("{").starts_with("it is not JSON"));
    assert_eq!(why("[]"), "it is not a JSON object");
    assert_eq!(why(r#"{"cniVersion": "1.0.0", "plugins": [{"type": "x"}]}"#), "it has no name");
    let no = |rest: &str| why(&format!(r#"{{"name": "a", "cniVersion": "1.0.0", {rest}}}"#));
    assert_eq!(no(r#""plugins": []"#), "its plugins are none");
    assert_eq!(no(r#""plugins": {}"#), "its plugins are no array");
    assert_eq!(no(r#""plugins": [{}]"#), "one of its plugins has no type");
    assert_eq!(no(r#""plugins": [3]"#), "one of its plugins is no JSON object");
    assert!(no(r#""plugins": [{"type": "../../bin/sh"}]"#).contains("without a path"));
    assert!(no(r#""plugins": [{"type": "x", "capabilities": []}]"#).contains("capabilities of its plugin x"));
    assert!(no(r#""type": "bridge""#).contains("put that into \"plugins\""));
    assert!(no(r#""disableCheck": 3, "plugins": [{"type": "x"}]"#).contains("disableCheck"));
    for name in ["", "-a", "a/b", "../a", "a b"] {
        let list = json!({"name": name, "cniVersion": "1.0.0", "plugins": [{"type": "x"}]});
        assert!(why(&list.to_string()).contains("no name of a network"), "{name}");
    }
}

#[test]
fn a_version_that_nobody_here_knows_is_refused() {
    let of = |version: &str| why(&format!(r#"{{"name": "a", {version} "plugins": [{{"type": "x"}}]}}"#));
    assert!(
        of(r#""cniVersion": "0.2.0","#).contains("its cniVersion is 0.2.0, and this service knows 0.3.0")
    );
    assert!(of(r#""cniVersion": "2.0.0", "cniVersions": ["3.0.0"],"#).contains("is 2.0.0, 3.0.0, and"));
    assert!(of("").contains("because it says none"));
    assert!(of(r#""cniVersion": 1,"#).contains("no text"));
}

#[test]
fn networks_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| name.parse::<NetworkName>().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let none = NetworkList::find(&folder.path().join("nope"), &name("dbnet")).unwrap_err().to_string();
    assert!(none.contains("no .conflist at all"), "{none}");
    write("20-db.conflist", EXAMPLE);
    write("10-broken.conflist", "{");
    write("30-one.conf", r#"{"name": "one", "type": "bridge", "cniVersion": "1.0.0"}"#);
    let (list, path) = NetworkList::find(folder.path(), &name("dbnet")).unwrap();
    assert_eq!((list.programs().len(), path), (3, folder.path().join("20-db.conflist")));
    let other = NetworkList::find(folder.path(), &name("other")).unwrap_err();
    assert!(other.is_configuration());
    let other = other.to_string();
    assert!(other.contains("dbnet") && other.contains("10-broken.conflist"), "{other}");
    // What is wrong with the very one is said of that.
    let broken = NetworkList::find(folder.path(), &name("10-broken")).unwrap_err().to_string();
    assert!(broken.contains("10-broken.conflist: it is not JSON"), "{broken}");
    // Plugins beside the list.
    write("dbnet/99-more.conf", r#"{"type": "bandwidth"}"#);
    let (list, _) = NetworkList::find(folder.path(), &name("dbnet")).unwrap();
    assert_eq!(list.programs().last().unwrap().as_str(), "bandwidth");
    write("20-db.conflist", &EXAMPLE.replacen('{', "{\"loadOnlyInlinedPlugins\": true, ", 1));
    let (list, _) = NetworkList::find(folder.path(), &name("dbnet")).unwrap();
    assert_eq!(list.programs().len(), 3);
}

proptest! {
    #[test]
    fn no_list_makes_it_panic(text in "\\PC{0,200}", cut in 0usize..900) {
        drop(NetworkList::parse(text.as_bytes()));
        let end = EXAMPLE.char_indices().map(|(at, _)| at).take_while(|at| *at <= cut.min(EXAMPLE.len() - 1)).last();
        prop_assert!(NetworkList::parse(&EXAMPLE.as_bytes()[..end.unwrap_or(0)]).is_err());
    }
}
