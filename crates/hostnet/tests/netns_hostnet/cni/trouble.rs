//! Plugins that fail, hang, are missing, or are left over.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hostnet::cni::CniError;
use serde_json::json;

use super::lab::{Lab, Vm, bridge, lab, seat};
use crate::support::{ask, listen, run};

const SAYS_NO: &str = r#"[ $CNI_COMMAND = ADD ] || exit 0
echo '{"cniVersion": "1.0.0", "code": 7, "msg": "no such lane", "details": "lane 9 of 8"}'; exit 1"#;

/// Says who it is, and then nothing more.
const HANGS: &str =
    "[ $CNI_COMMAND = ADD ] || exit 0\necho $$ > /mnt/pid.new; mv /mnt/pid.new /mnt/pid\nsleep 1000";

/// Until something is so.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn runs(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_failure_in_the_middle_takes_everything_back() {
    lab("cni::trouble::a_failure_in_the_middle_takes_everything_back", async |lab| {
        lab.plugin("lanes", SAYS_NO);
        lab.network(&[bridge(), json!({"type": "lanes"}), json!({"type": "portmap"})]);
        let why = lab.service().attach(&seat(1), None).await.unwrap_err().to_string();
        assert_eq!(
            why,
            "seat rust-101/1: the CNI plugin lanes failed at ADD: no such lane: lane 9 of 8 (code 7); correct its part of the .conflist"
        );
        assert_eq!(lab.left(), Vec::<String>::new());
        // With the plugin mended, the first address is free.
        lab.network(&[bridge()]);
        let at = lab.service().attach(&seat(1), None).await.unwrap();
        lab.service().detach(&seat(1)).await.unwrap();
        assert_eq!(at.address.prefix_len(), 24);
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_undo_that_fails_is_told_and_tried_again() {
    lab("cni::trouble::an_undo_that_fails_is_told_and_tried_again", async |lab| {
        lab.plugin("lanes", "echo 'it is locked' >&2; exit 3");
        lab.network(&[bridge(), json!({"type": "lanes"})]);
        let service = lab.service();
        let why = service.attach(&seat(1), None).await.unwrap_err();
        assert!(matches!(why, CniError::Left { .. }), "{why}");
        let why = why.to_string();
        assert!(why.contains("failed at ADD: it ended with exit status: 3: it is locked"), "{why}");
        assert!(
            why.contains("could not be taken back: seat rust-101/1: the CNI plugin lanes failed at DEL"),
            "{why}"
        );
        // The other plugin's part is undone all the same; what is left is known.
        assert!(
            !lab.left().iter().any(|left| left.starts_with("ipam/") || left.starts_with("veth")),
            "{:?}",
            lab.left()
        );
        assert_eq!(service.survey().unwrap(), [seat(1)]);
        let why = service.detach(&seat(1)).await.unwrap_err().to_string();
        assert!(why.contains("lanes failed at DEL"), "{why}");
        lab.plugin("lanes", "exit 0");
        lab.service().detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_plugin_that_hangs_is_killed() {
    lab("cni::trouble::a_plugin_that_hangs_is_killed", async |lab| {
        lab.plugin("lanes", HANGS);
        lab.network(&[bridge(), json!({"type": "lanes"})]);
        let why = lab.hasty(Duration::from_secs(3)).attach(&seat(1), None).await.unwrap_err();
        assert!(matches!(why, CniError::Hangs { .. }), "{why}");
        let why = why.to_string();
        assert!(why.contains("seat rust-101/1: the CNI plugin lanes did not end at ADD within 3 s"), "{why}");
        let pid = fs::read_to_string("/mnt/pid").unwrap();
        until(|| !runs(&pid)).await;
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_request_that_is_given_up_leaves_what_the_next_service_removes() {
    lab("cni::trouble::a_request_that_is_given_up_leaves_what_the_next_service_removes", async |lab| {
        lab.plugin("lanes", HANGS);
        lab.network(&[bridge(), json!({"type": "lanes"})]);
        let service = lab.service();
        {
            let (one, attaching) = (seat(1), service.clone());
            let attaching = attaching.attach(&one, None);
            tokio::select! {
                attached = attaching => panic!("{attached:?}"),
                () = until(|| Path::new("/mnt/pid").exists()) => {}
            }
        }
        let pid = fs::read_to_string("/mnt/pid").unwrap();
        until(|| !runs(&pid)).await;
        assert!(lab.left().iter().any(|left| left.starts_with("ipam/")), "{:?}", lab.left());
        let next = lab.service();
        assert_eq!(next.survey().unwrap(), [seat(1)]);
        next.detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
        // Or the seat is asked for again.
        fs::remove_file("/mnt/pid").unwrap();
        {
            let one = seat(1);
            tokio::select! {
                attached = service.attach(&one, None) => panic!("{attached:?}"),
                () = until(|| Path::new("/mnt/pid").exists()) => {}
            }
        }
        lab.network(&[bridge()]);
        let at = next.attach(&seat(1), None).await.unwrap();
        let vm = Vm::boot(&at);
        vm.guest.run(|| listen(at.address.addr(), 3001));
        ask(at.address.addr(), 3001);
        drop(vm);
        next.detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_namespace_of_no_seat_goes() {
    lab("cni::trouble::a_namespace_of_no_seat_goes", async |lab| {
        lab.network(&[bridge()]);
        let service = lab.service();
        let at = service.attach(&seat(1), None).await.unwrap();
        let stray = at.namespace.with_file_name("rust-101.7");
        fs::write(&stray, "").unwrap();
        run(&format!("mount --bind /proc/self/ns/net {}", stray.display()));
        assert_eq!(service.survey().unwrap(), [seat(1)]);
        assert!(!stray.exists() && at.namespace.exists());
        service.detach(&seat(1)).await.unwrap();
        assert_eq!(lab.left(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_the_operator_has_not_is_said() {
    lab("cni::trouble::what_the_operator_has_not_is_said", async |lab| {
        let why = async |lab: &Lab| {
            let why = lab.service().network().await.unwrap_err();
            assert!(why.is_configuration(), "{why}");
            let told = lab.service().attach(&seat(1), None).await.unwrap_err().to_string();
            assert_eq!(told, why.to_string());
            assert_eq!(lab.left(), Vec::<String>::new());
            told
        };
        assert!(why(&lab).await.contains("there is no CNI network lab in /mnt/net.d (no .conflist at all)"));
        lab.network(&[json!({"type": "warp"})]);
        let told = why(&lab).await;
        assert!(
            told.contains("the CNI plugin warp of the network lab is in none of /mnt/bin, /usr/lib/cni"),
            "{told}"
        );
        lab.plugin("warp", "");
        let path = lab.path("net.d/10-lab.conflist");
        fs::write(&path, r#"{"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "warp"}]}"#).unwrap();
        let told = why(&lab).await;
        assert!(told.contains("the list is for 1.1.0, warp knows 0.4.0, 1.0.0"), "{told}");
        // The newest that all know.
        fs::write(&path, r#"{"cniVersion": "1.1.0", "cniVersions": ["0.3.1", "0.4.0", "1.0.0"], "name": "lab", "plugins": [{"type": "warp"}]}"#).unwrap();
        assert_eq!(lab.service().network().await.unwrap().version.as_str(), "1.0.0");
        fs::write(&path, "{").unwrap();
        assert!(why(&lab).await.contains("10-lab.conflist"));
        // What is said of the host by the doctor.
        let findings = lab.service().doctor().await;
        assert_eq!(findings[0].level, seats::Level::Error);
        assert_eq!(findings[1].level, seats::Level::Ok, "{}", findings[1].detail);
        lab.network(&[bridge()]);
        let findings = lab.service().doctor().await;
        assert!(
            findings[0].detail.starts_with("lab of /mnt/net.d/10-lab.conflist: bridge (CNI 1.0.0)"),
            "{}",
            findings[0].detail
        );
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn answers_that_make_no_guest_are_refused() {
    lab("cni::trouble::answers_that_make_no_guest_are_refused", async |lab| {
        let answers = [
            ("echo '{}'", "no IPv4 address"),
            ("echo hello", "it is not JSON"),
            (r#"echo '{"ips": [{"address": "10.0.0.2/24"}]}'"#, "there is no eth0 in the seat's namespace"),
        ];
        for (answer, reason) in answers {
            lab.plugin("odd", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{answer}"));
            lab.network(&[json!({"type": "odd"})]);
            let why = lab.service().attach(&seat(1), None).await.unwrap_err().to_string();
            assert!(why.contains("seat rust-101/1") && why.contains(reason), "{why}");
            assert_eq!(lab.left(), Vec::<String>::new());
        }
    });
}
