//! QMP against a server that follows a script.

use super::*;

const HELLO: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;
const LONG: Duration = Duration::from_secs(120);

/// The other end of a connection.
struct Server(BufReader<UnixStream>);

impl Server {
    fn new() -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self(BufReader::new(ours)), theirs)
    }

    async fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn say(&mut self, line: &str) {
        self.write(&format!("{line}\r\n")).await;
    }

    /// What is said next; nothing at the end.
    async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    async fn greet(&mut self) {
        self.say(HELLO).await;
        assert_eq!(self.hear().await.unwrap()["execute"], "qmp_capabilities");
        self.say(r#"{"return": {}, "id": 0}"#).await;
    }
}

/// A connection that has been greeted.
async fn greeted(limit: Duration) -> (Server, Qmp) {
    let (mut server, stream) = Server::new();
    let (qmp, ()) = tokio::join!(Qmp::begin(stream, limit), server.greet());
    (server, qmp.unwrap())
}

async fn beginning(said: &'static str) -> String {
    let (mut server, stream) = Server::new();
    let speak = async {
        server.write(said).await;
        drop(server);
    };
    let (qmp, ()) = tokio::join!(Qmp::begin(stream, LONG), speak);
    qmp.unwrap_err().to_string()
}

#[tokio::test]
async fn a_greeting_in_pieces_is_one() {
    let (mut server, stream) = Server::new();
    let speak = async {
        for piece in HELLO.as_bytes().chunks(7) {
            server.write(std::str::from_utf8(piece).unwrap()).await;
            tokio::task::yield_now().await;
        }
        server.say("").await;
        server.hear().await.unwrap();
        // An event in between is not the answer.
        server
            .say(r#"{"event": "NIC_RX_FILTER_CHANGED", "timestamp": {"seconds": 1, "microseconds": 2}}"#)
            .await;
        server.say(r#"{"id": 0, "return": {}}"#).await;
        server
    };
    let (qmp, _server) = tokio::join!(Qmp::begin(stream, LONG), speak);
    assert_eq!(qmp.unwrap().version().to_string(), "7.2.22");
}

#[tokio::test]
async fn what_is_no_qemu_is_said_to_be_none() {
    assert_eq!(beginning("").await, "QEMU closed its control socket");
    assert_eq!(beginning(r#"{"QMP": {"versi"#).await, "QEMU closed its control socket");
    assert!(beginning("HTTP/1.1 400 Bad Request\r\n").await.contains(r#"not understood: "HTTP/1.1 400"#));
    assert!(beginning("{}\n").await.contains("missing field `QMP`"));
}

#[tokio::test]
async fn a_line_without_end_is_not_read_forever() {
    let (mut server, qmp) = greeted(LONG).await;
    let flood = async {
        // The last of it meets a closed socket.
        while server.0.get_mut().write_all(&[b'x'; 65536]).await.is_ok() {}
    };
    let asked = async {
        let why = qmp.query_status().await.unwrap_err();
        drop(qmp);
        why
    };
    let (why, ()) = tokio::join!(asked, flood);
    assert_eq!(why.to_string(), "QEMU's control socket said what is not understood: a line without end");
}

#[tokio::test]
async fn a_silent_qemu_is_told_from_a_slow_one() {
    let (_server, stream) = Server::new();
    let why = Qmp::begin(stream, Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(why, QmpError::Silent { .. }), "{why}");

    let (mut server, qmp) = greeted(LONG).await;
    let slow = async {
        let asked = server.hear().await.unwrap();
        assert_eq!(asked["execute"], "query-status");
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.say(&format!(r#"{{"return": {{"status": "paused"}}, "id": {}}}"#, asked["id"])).await;
    };
    let (status, ()) = tokio::join!(qmp.query_status(), slow);
    assert_eq!(status.unwrap(), RunState::Paused);
}

#[tokio::test]
async fn answers_find_who_asked_in_any_order_and_late_ones_nobody() {
    let (mut server, qmp) = greeted(LONG).await;
    // Who gives up is forgotten, and his answer is not taken for another's.
    let given_up = timeout(Duration::from_millis(1), qmp.query_status()).await;
    assert!(given_up.is_err());
    let late = server.hear().await.unwrap();
    let crossed = async {
        let (first, second) = (server.hear().await.unwrap(), server.hear().await.unwrap());
        server.say(&format!(r#"{{"return": {{"status": "io-error"}}, "id": {}}}"#, late["id"])).await;
        server.say(r#"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}"#).await;
        server.say(&format!(r#"{{"return": {{"status": "colo"}}, "id": {}}}"#, second["id"])).await;
        server.say(&format!(r#"{{"return": {{"status": "running"}}, "id": {}}}"#, first["id"])).await;
    };
    let (first, second, ()) = tokio::join!(qmp.query_status(), qmp.query_status(), crossed);
    assert_eq!((first.unwrap(), second.unwrap()), (RunState::Running, RunState::Other));
}

#[tokio::test]
async fn a_refusal_is_told_in_qemus_words_and_ends_nothing() {
    let (mut server, qmp) = greeted(LONG).await;
    let throttle = Throttle { bytes_per_second: 5, operations_per_second: 6 };
    let refuse = async {
        let asked = server.hear().await.unwrap();
        let wanted = serde_json::json!({"execute": "block_set_io_throttle", "id": 1, "arguments":
            {"id": "disk-no", "bps": 5, "bps_rd": 0, "bps_wr": 0, "iops": 6, "iops_rd": 0, "iops_wr": 0}});
        assert_eq!(asked, wanted);
        server
            .say(r#"{"error": {"class": "GenericError", "desc": "Device 'disk-no' not found"}, "id": 1}"#)
            .await;
        assert_eq!(server.hear().await.unwrap()["execute"], "stop");
        server.say(r#"{"return": {}, "id": 2}"#).await;
    };
    let ((refused, stopped), ()) =
        tokio::join!(async { (qmp.set_throttle("disk-no", throttle).await, qmp.stop().await) }, refuse);
    let said = refused.unwrap_err().to_string();
    assert_eq!(said, "QEMU refuses block_set_io_throttle: Device 'disk-no' not found");
    stopped.unwrap();
}

#[tokio::test]
async fn running_is_when_qemu_says_so() {
    let (mut server, qmp) = greeted(LONG).await;
    let resume = async {
        server.hear().await.unwrap();
        server.say(r#"{"return": {"status": "prelaunch"}, "id": 1}"#).await;
        assert_eq!(server.hear().await.unwrap()["execute"], "cont");
        server.say(r#"{"return": {}, "id": 2}"#).await;
        server.say(r#"{"event": "RESUME"}"#).await;
        server
    };
    let (resumed, _server) = tokio::join!(qmp.cont(), resume);
    resumed.unwrap();
}

#[tokio::test]
async fn an_end_in_the_middle_is_told_to_all_who_wait_and_all_who_come() {
    let (mut server, qmp) = greeted(LONG).await;
    let mut events = qmp.events();
    let end = async {
        server.hear().await.unwrap();
        server.hear().await.unwrap();
        server.write(r#"{"return": {"stat"#).await;
        drop(server);
    };
    let (first, second, ()) = tokio::join!(qmp.query_status(), qmp.stop(), end);
    for why in [first.unwrap_err(), second.unwrap_err(), qmp.cont().await.unwrap_err()] {
        assert!(matches!(why, QmpError::Closed), "{why}");
    }
    assert!(qmp.is_over());
    assert!(matches!(events.recv().await, Err(broadcast::error::RecvError::Closed)));
    assert!(matches!(qmp.events().recv().await, Err(broadcast::error::RecvError::Closed)));
    qmp.quit().await.unwrap();
}

#[tokio::test]
async fn events_are_told_typed() {
    let (mut server, qmp) = greeted(LONG).await;
    let mut events = qmp.events();
    server.say(r#"{"event": "VSERPORT_CHANGE", "data": {"open": true, "id": "agent"}}"#).await;
    server.say(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#).await;
    server.say(r#"{"event": "BLOCK_IO_ERROR", "data": {"operation": "write", "reason": "No space left on device"}}"#).await;
    server.say(r#"{"event": "RTC_CHANGE", "data": {}}"#).await;
    let wanted = [
        Event::AgentPort { open: true },
        Event::Shutdown { guest: true },
        Event::BlockError { why: "write: No space left on device".into() },
        Event::Other("RTC_CHANGE".into()),
    ];
    for event in wanted {
        assert_eq!(events.recv().await.unwrap(), event);
    }
}

/// What a script of the other end makes of the writing of a state: it writes something to what is handed over, and says this. What came to the file.
async fn writing(statuses: &[&str]) -> (Result<(), QmpError>, String) {
    let (server, qmp) = greeted(LONG).await;
    let server = server.0.into_inner().into_std().unwrap();
    server.set_nonblocking(false).unwrap();
    let statuses: Vec<_> = statuses.iter().map(|status| (*status).to_owned()).collect();
    // A thread: what reads descriptors waits.
    let serve = tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let hear = || {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [0; 4096];
            let mut buffers = [io::IoSliceMut::new(&mut bytes)];
            let flags = rustix::net::RecvFlags::empty();
            let read = rustix::net::recvmsg(&server, &mut buffers, &mut ancillary, flags).unwrap().bytes;
            let open = ancillary.drain().find_map(|message| match message {
                rustix::net::RecvAncillaryMessage::ScmRights(mut open) => open.next(),
                _ => None,
            });
            (serde_json::from_slice::<Value>(&bytes[..read]).unwrap(), open)
        };
        let say = |line: String| (&server).write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut handed = None;
        for command in ["migrate-set-capabilities", "getfd", "migrate"] {
            let (asked, open) = hear();
            assert_eq!(asked["execute"], command);
            if let Some(open) = open {
                assert_eq!((command, &asked["arguments"]["fdname"]), ("getfd", &Value::from("state")));
                handed = Some(std::fs::File::from(open));
            }
            say(format!(r#"{{"return": {{}}, "id": {}}}"#, asked["id"]));
        }
        let mut handed = handed.expect("a descriptor");
        for status in statuses {
            say(format!(r#"{{"event": "MIGRATION", "data": {{"status": "{status}"}}, "timestamp": {{}}}}"#));
            match status.as_str() {
                "active" => handed.write_all(b"processors and devices").unwrap(),
                "failed" => {
                    let (asked, _) = hear();
                    assert_eq!(asked["execute"], "query-migrate");
                    let why = r#"{"status": "failed", "error-desc": "no room"}"#;
                    say(format!(r#"{{"return": {why}, "id": {}}}"#, asked["id"]));
                }
                _ => {}
            }
        }
    });
    let mut file = tempfile::tempfile().unwrap();
    let done = qmp.write_state(file.try_clone().unwrap()).await;
    serve.await.unwrap();
    let mut said = String::new();
    io::Seek::rewind(&mut file).unwrap();
    io::Read::read_to_string(&mut file, &mut said).unwrap();
    (done, said)
}

#[tokio::test]
async fn a_state_comes_through_what_is_handed_over() {
    let (done, said) = writing(&["setup", "active", "completed"]).await;
    done.unwrap();
    assert_eq!(said, "processors and devices");
    let (done, _) = writing(&["setup", "failed"]).await;
    assert_eq!(done.unwrap_err().to_string(), "QEMU refuses migrate: no room");
    let (done, _) = writing(&["setup"]).await;
    assert!(matches!(done.unwrap_err(), QmpError::Closed));
}
