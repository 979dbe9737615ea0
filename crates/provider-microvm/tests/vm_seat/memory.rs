//! Memory that a learner eats up.

use std::fs;

use guest_protocol::{Exit, Signal};
use seats::Status;
use serde_json::json;
use vm_testbed::Image;

use crate::bed::{Bed, run};
use crate::isolated;

/// Serves, but eats all memory when it is started for the second time.
const GREEDY: &str = "cd /workspace; echo started >>starts; sync; [ $(wc -l <starts) != 2 ] || exec tail /dev/zero; \
                      exec /bin/testbed serve";

fn runs(script: &str) -> Image {
    let mut image = Image::testbed().unwrap();
    image.config["Entrypoint"] = json!(["/bin/sh", "-c", script]);
    image.config["Cmd"] = json!([]);
    image
}

/// The most memory that a monitor has had, in bytes.
fn most(bed: &Bed, seat: &seats::SeatRef) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bed.monitor(seat))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The limit of memory in a seat's cgroup.
fn limit(bed: &Bed) -> u64 {
    let parent = bed.host.config.cgroup.as_ref().unwrap();
    let groups = vm_testbed::cgroups(parent).into_iter();
    let of_seat = groups.filter(|folder| !folder.ends_with(parent) && !folder.ends_with("keepers"));
    let read = |folder: &std::path::Path, name| fs::read_to_string(folder.join(name)).ok();
    let mut found = of_seat
        .filter_map(|folder| read(&folder, "memory.max").or_else(|| read(&folder, "memory.limit_in_bytes")))
        .filter_map(|text| text.trim().parse().ok());
    found.next().expect("no cgroup of a seat limits memory")
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn who_eats_all_memory_is_killed_and_a_workspace_that_did_is_started_again() {
    isolated!(who_eats_all_memory_is_killed_and_a_workspace_that_did_is_started_again, || {
        run(&[("greedy", runs(GREEDY)), ("greedier", runs("exec tail /dev/zero"))], async |bed| {
            let seat = bed.seat(1);
            let made = bed.running(&bed.spec(&seat, "greedy")).await;
            let (agent, monitor) = (bed.agent(&seat).await, bed.monitor(&seat));
            let boot = agent.health().await.unwrap().boot_id;

            // A program of the learner's.
            let eaten = bed.exec(&seat, &["/bin/tail", "/dev/zero"]).await;
            assert_eq!(eaten.exit, Exit::Signal(Signal::KILL), "{eaten:?}");
            bed.answers(&bed.until_running(&seat).await);

            // The workspace itself.
            agent.signal(Signal::TERM).await.unwrap();
            let killed = bed
                .until(&seat, |health| health.workload.last_exit == Some(Exit::Signal(Signal::KILL)))
                .await;
            assert!(killed.workload.restarts >= 1, "{killed:?}");
            bed.until(&seat, |health| {
                health.workload.restarts > killed.workload.restarts && health.workload.pid.is_some()
            })
            .await;
            let listed = bed.until_running(&seat).await;
            assert_eq!((&listed.id, listed.ip), (&made.id, made.ip));
            bed.answers(&listed);
            assert_eq!(bed.shell(&seat, "wc -l </workspace/starts").await.trim(), "3");

            // Files in memory are no way around it, though nobody can be killed to free what they hold.
            for folder in ["/tmp", "/dev/shm"] {
                let said = bed
                    .shell(&seat, &format!("dd if=/dev/zero of={folder}/fill bs=64k 2>&1 || echo refused"))
                    .await;
                assert!(said.contains("No space left on device"), "{folder}: {said}");
            }
            bed.answers(&bed.until_running(&seat).await);
            assert_eq!(bed.shell(&seat, "echo alive").await, "alive");

            // All that in the same machine, whose own memory the host bounds.
            assert_eq!(bed.agent(&seat).await.health().await.unwrap().boot_id, boot);
            assert_eq!(bed.monitor(&seat), monitor);
            let (most, limit) = (most(bed, &seat), limit(bed));
            assert!(most <= limit && limit < 1 << 30, "the monitor had {most} bytes of {limit}");
            bed.destroy(&seat).await;

            // One that never does anything else is told.
            let made = bed.create(&bed.spec(&seat, "greedier")).await;
            assert_eq!(made.status, Status::Error, "{made:?}");
            let reason = made.reason.unwrap();
            assert!(reason.starts_with("the workspace exits with code 137"), "{reason}");
            bed.destroy(&seat).await;
        });
    });
}
