//! Hosts that are killed and come back, on a real port.

use guest_protocol::client::{ExecEvent, LinkOptions};
use guest_protocol::{ExecRequest, FilesQuery, LogQuery, Owner, Size, WorkloadState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::guest::{Guest, LIMIT};
use super::image::Image;
use super::life::shell;

/// One guest for all of it: each host goes away in the middle of something, and the next one finds a good beginning.
#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn hosts_come_and_go_in_the_middle_of_anything() {
    if !super::can_run() {
        return;
    }
    let image = Image::busybox().runs("i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.01; done");
    let mut guest = Guest::boot(image);
    // Before it is configured, and before it is even there.
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"CLARATEACH-LINK 1 0123", &[0xff; 5000]] {
        let mut stream = guest.stream().await;
        stream.write_all(words).await.unwrap();
        drop(stream);
    }
    let (agent, health) = guest.configured(|health| health.workload.state == WorkloadState::Running).await;
    let pid = health.workload.pid;

    // A terminal, a log, and an archive, all in the middle.
    let request = ExecRequest::new(["/bin/sh"]).on_terminal(Size { columns: 80, rows: 24 });
    let mut session = agent.exec(&request).await.unwrap();
    session.input.write(b"stty size; id -u; echo done=$((40 + 2))\n").await.unwrap();
    let mut said = String::new();
    while !said.contains("done=42") {
        match session.output.next().await.unwrap() {
            Some(ExecEvent::Out(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?}"),
        }
    }
    assert!(said.contains("24 80"), "{said}");
    let mut logs = agent.logs(LogQuery { tail: None, follow: true }).await.unwrap();
    logs.next().await.unwrap().unwrap();
    let mut download = agent.files_down(&"/bin".parse().unwrap()).await.unwrap();
    download.next().await.unwrap().unwrap();
    let shell_pid = session.pid;
    drop((session, logs, download, agent));

    let agent = guest.connect().await;
    let health = agent.health().await.unwrap();
    assert_eq!((health.workload.pid, health.workload.restarts), (pid, 0));
    let there = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do [ -e /proc/{shell_pid} ] || break; sleep 0.5; done; ls -d /proc/{shell_pid} 2>/dev/null; true"
    );
    assert_eq!(shell(&agent, None, &there).await, "", "the terminal's shell ended with its host");
    drop(agent);

    // One that stops in the middle of a frame, and leaves a whole lot of unread answers.
    let mut stream = guest.stream().await;
    // What is asked while the last host is still being let go is lost with it, so it is asked again.
    guest_protocol::link::open(&mut stream, LinkOptions::default().ask_again).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x40\0\0\0\0\0\0\x01xxx")
        .await
        .unwrap();
    drop(stream);

    // Files there and back, after all that.
    let agent = guest.connect().await;
    let mut builder = tar::Builder::new(Vec::new());
    let content: Vec<u8> = (0..700_000_u32).map(|number| (number * 13) as u8).collect();
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    builder.append_data(&mut header, "sub/big", &content[..]).unwrap();
    let archive = bytes::Bytes::from(builder.into_inner().unwrap());
    let query = FilesQuery { path: "/workspace".parse().unwrap(), owner: Owner::Workload };
    agent.files_up(&query, futures_util::stream::iter([Ok(archive)])).await.unwrap();
    let mut download = agent.files_down(&"/workspace/sub".parse().unwrap()).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    let mut archive = tar::Archive::new(&bytes[..]);
    let read: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        })
        .collect();
    assert_eq!(read[0].0, "sub");
    assert!(read[1].0 == "sub/big" && read[1].1 == content);

    // The clock, as after a host that slept.
    agent.set_time(4_000_000_000_000_000_000).await.unwrap();
    let year = shell(&agent, None, "date -u +%Y").await;
    assert_eq!(year, "2096");

    // A connection that says nothing does not keep the machine from ending.
    agent.stop(std::time::Duration::from_secs(5)).await.unwrap();
    drop(agent);
    let mut idle = guest.stream().await;
    let mut byte = [0];
    let _ = tokio::time::timeout(LIMIT, idle.read(&mut byte)).await.unwrap();
    guest.ended().await;
}
