//! From the first boot to the end, and once more.

use std::time::Duration;

use guest_protocol::client::Agent;
use guest_protocol::{ExecRequest, Exit, Phase, WorkloadState};

use super::guest::Guest;
use super::image::Image;

/// What a shell in the seat says.
pub(crate) async fn shell(agent: &Agent, user: Option<&str>, script: &str) -> String {
    let mut request = ExecRequest::new(["/bin/sh", "-c", script]);
    request.user = user.map(str::to_owned);
    let result = agent.run(&request, b"", 1 << 20).await.unwrap();
    assert_eq!(result.exit, Exit::Code(0), "{script}: {result:?}");
    String::from_utf8(result.out.to_vec()).unwrap().trim_end().to_owned()
}

fn lesson() -> Image {
    let mut image = Image::busybox();
    image.folder("workspace", 0o750, (1000, 44));
    image.file("workspace/lesson.txt", 0o640, (1000, 1000), b"lesson one\n");
    // As Docker leaves them in images: one with what the build had, one that leads elsewhere.
    image.file("etc/hosts", 0o644, (0, 0), b"192.0.2.1 of-the-build\n");
    image.link("etc/resolv.conf", "/workspace/lesson.txt");
    image.run.user = "learner".into();
    image.run.working_dir = "/made/for/it".into();
    image.runs("echo hello $(id -un) in $(pwd) of $(hostname); exec sleep 100000")
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_seat_is_made_used_stopped_and_made_again() {
    if !super::can_run() {
        return;
    }
    let mut guest = Guest::boot(lesson());
    let (agent, health) = guest.configured(|health| health.workload.state == WorkloadState::Running).await;
    assert_eq!((health.phase, &health.reason), (Phase::Running, &None));
    assert!(
        health.uptime_ms > 0 && !health.boot_id.is_empty() && health.kernel.starts_with('6'),
        "{health:?}"
    );

    // Its identity, and whose files are whose.
    assert_eq!(
        shell(&agent, None, "id -u; id -g; id -G; echo $HOME").await,
        "1000\n1000\n1000 44\n/home/learner"
    );
    assert_eq!(shell(&agent, None, "hostname; cat /etc/hostname").await, "seat-7\nseat-7");
    assert_eq!(shell(&agent, None, "cat /etc/machine-id").await, "0123456789abcdef".repeat(2));
    // Whom it knows by name, and whom it asks for other names.
    assert_eq!(
        shell(&agent, None, "cat /etc/hosts").await,
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tseat-7\n10.0.0.1\tgw host"
    );
    assert_eq!(
        shell(&agent, None, "cat /etc/resolv.conf; stat -c '%F %a %u' /etc/hosts /etc/resolv.conf").await,
        "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.test b.test\noptions ndots:1\nregular file 644 0\nregular file 644 0"
    );
    let files =
        "stat -c '%a %u:%g' /workspace /workspace/lesson.txt; ls -A /workspace; cat /workspace/lesson.txt";
    assert_eq!(shell(&agent, None, files).await, "750 1000:44\n640 1000:1000\nlesson.txt\nlesson one");

    // What is left of root's powers, for users and for root.
    let powers = "grep -E '^(CapBnd|CapAmb|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
    let expected = "CapBnd:00000000000000eb\nCapAmb:0000000000000000\nNoNewPrivs:1";
    assert_eq!(shell(&agent, None, powers).await, expected);
    assert_eq!(shell(&agent, Some("root"), powers).await, expected);
    assert_eq!(
        shell(&agent, Some("root"), "mount -o remount,ro / 2>/dev/null || echo refused").await,
        "refused"
    );

    // Both file systems are as large as their disks, and the shared root is never written to.
    let sizes = shell(
        &agent,
        None,
        "df -m / /workspace | sed 1d | while read a size b; do echo $((size / 100)); done",
    )
    .await;
    assert_eq!(sizes, "2\n2");
    shell(
        &agent,
        Some("root"),
        "echo root > /etc/mark; echo kept > /workspace/kept; rm /workspace/lesson.txt",
    )
    .await;

    // The limit of processes holds for all that runs in it.
    let forks = "i=0; while [ $i -lt 200 ]; do sleep 100 & i=$((i + 1)); done 2>&1 | head -1; echo";
    assert!(shell(&agent, None, forks).await.contains("fork"), "200 processes where 100 are allowed");

    agent.stop(Duration::from_secs(10)).await.unwrap();
    let console = guest.ended().await;
    assert!(!console.contains("stays as it is"), "{console}");

    // The same disks in a new machine: what was written is there, and the first content does not come again.
    guest.start();
    let (agent, _) = guest.configured(|health| health.workload.state == WorkloadState::Running).await;
    assert_eq!(shell(&agent, None, "cat /etc/mark; ls -A /workspace").await, "root\nkept");
    agent.stop(Duration::from_secs(10)).await.unwrap();
    let console = guest.ended().await;
    assert!(!console.contains("recovery") && !console.contains("recovering"), "{console}");
}
