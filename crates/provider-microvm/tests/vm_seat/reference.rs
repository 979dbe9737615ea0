//! What a learner can do to a seat of the reference image, with the programs that are in it.

use guest_protocol::{Exit, Signal};
use seats::{Limits, SeatSpec};
use vm_testbed::{Need, can_run};

use crate::bed::{run_with, until};
use crate::forks::refused;
use crate::isolated;

/// Starts programs that stay until none can be started any more; bash tries four times, and then ends.
const BOMB: &str = "for number in {1..200}; do sleep 1000 & done; true";
/// Writes until there is no room.
const FILL: &str = "dd if=/dev/zero of=/workspace/fill bs=64k 2>&1; sync; (echo more >>/workspace/fill) 2>&1 && sync || echo refused";

#[test]
#[ignore = "vm tier: needs root, QEMU, a guest kernel and the reference image; cargo xtask test runs it"]
fn processes_disk_and_memory_of_the_reference_image_end_at_the_seat_s_limits() {
    if !can_run(&[Need::Workspace]) {
        return;
    }
    isolated!(processes_disk_and_memory_of_the_reference_image_end_at_the_seat_s_limits, || {
        let archive = vm_testbed::workspace().unwrap();
        run_with(
            &[],
            |config| config.images.archives.push(archive),
            async |bed| {
                let (tried, other) = (bed.seat(1), bed.seat(2));
                let wish = |seat| SeatSpec {
                    image: vm_testbed::WORKSPACE.parse().unwrap(),
                    limits: Limits { cpu_millis: 1000, memory_mib: 256, pids: 64 },
                    ..bed.spec(seat, "latest")
                };
                let (wished, others_wish) = (wish(&tried), wish(&other));
                let (made, others) = tokio::join!(bed.running(&wished), bed.running(&others_wish));
                let agent = bed.agent(&tried).await;
                let boot = agent.health().await.unwrap().boot_id;

                let before = refused(bed, &tried).await;
                bed.exec(&tried, &["/bin/bash", "-c", BOMB]).await;
                assert!(refused(bed, &tried).await > before, "more than 64 processes were let in");
                bed.answers(&others);
                // With the learner's processes the workspace ends, and is started again.
                bed.exec(&tried, &["/bin/sh", "-c", "kill -9 -1"]).await;
                bed.until(&tried, |health| health.workload.restarts >= 1 && health.workload.pid.is_some())
                    .await;
                bed.answers(&bed.until_running(&tried).await);

                let said = bed.shell(&tried, FILL).await;
                assert!(said.contains("No space left on device") && said.ends_with("refused"), "{said}");
                bed.answers(&others);
                bed.shell(&tried, "rm /workspace/fill; echo again >/workspace/again; sync").await;
                bed.answers(&bed.until_running(&tried).await);

                let eaten = bed.exec(&tried, &["/usr/bin/tail", "/dev/zero"]).await;
                assert_eq!(eaten.exit, Exit::Signal(Signal::KILL), "{eaten:?}");
                bed.answers(&others);

                // All that in one machine, whose workspace goes on.
                until(async || agent.health().await.unwrap().workload.pid.is_some()).await;
                let listed = bed.until_running(&tried).await;
                bed.answers(&listed);
                assert_eq!((&listed.id, listed.ip), (&made.id, made.ip));
                assert_eq!(agent.health().await.unwrap().boot_id, boot);
                tokio::join!(bed.destroy(&tried), bed.destroy(&other));
            },
        );
    });
}
