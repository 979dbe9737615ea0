//! Images with a link where the workspace is mounted: it is mounted where that leads in the seat.

use std::time::Duration;

use guest_protocol::{Phase, WorkloadState};

use super::guest::Guest;
use super::image::Image;
use super::life::shell;

/// Boots an image whose `/workspace` is this link, writes by the link and boots its disks once more; what was said of its folder and then of
/// what is in it.
async fn behind(mut image: Image, target: &str, folder: &str) -> String {
    image.link("workspace", target);
    image.run.user = "learner".into();
    let mut guest = Guest::boot(image.runs("exec sleep 100000"));
    let runs = |health: &guest_protocol::Health| {
        health.workload.state == WorkloadState::Running || health.phase == Phase::Failed
    };
    let (agent, health) = guest.configured(runs).await;
    assert_eq!((health.phase, &health.reason), (Phase::Running, &None), "{}", guest.console());
    let script = format!("stat -c '%F %a %u:%g' {folder}; echo kept > /workspace/kept");
    let said = shell(&agent, None, &script).await;
    // It is on the disk of its own, and the link is as the image has it.
    let mounted =
        shell(&agent, None, "while read d m r; do case $d in /dev/*) echo $m; esac; done < /proc/mounts");
    assert!(mounted.await.lines().any(|place| place == folder), "nothing is mounted at {folder}");
    assert_eq!(shell(&agent, None, "stat -c %F /workspace").await, "symbolic link");
    agent.stop(Duration::from_secs(10)).await.unwrap();
    guest.ended().await;

    guest.start();
    let (agent, _) = guest.configured(runs).await;
    let there = shell(&agent, None, &format!("ls -A {folder}; cat /workspace/kept")).await;
    agent.stop(Duration::from_secs(10)).await.unwrap();
    guest.ended().await;
    format!("{said}\n{there}")
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_workspace_behind_a_link_is_that_folder() {
    if !super::can_run() {
        return;
    }
    let mut image = Image::busybox();
    image.folder("home/learner/work", 0o2750, (1000, 44));
    image.file("home/learner/work/lesson.txt", 0o640, (1000, 1000), b"lesson one\n");
    let said = behind(image, "/home/learner/work", "/home/learner/work").await;
    assert_eq!(said, "directory 2750 1000:44\nkept\nlesson.txt\nkept");
}

#[tokio::test]
#[ignore = "needs QEMU and a guest kernel"]
async fn a_workspace_behind_a_link_to_nothing_is_made_there() {
    if !super::can_run() {
        return;
    }
    // It would lead out of the seat if it could.
    let said = behind(Image::busybox(), "../../../srv/work", "/srv/work").await;
    assert_eq!(said, "directory 755 1000:1000\nkept\nkept");
}
