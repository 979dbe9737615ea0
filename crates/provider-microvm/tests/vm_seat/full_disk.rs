//! Disks that a learner fills up.

use guest_protocol::Signal;

use crate::bed::run;
use crate::isolated;

/// Writes until there is no room, and then a little more.
const FILL: &str = "dd if=/dev/zero of=FOLDER/NAME bs=64k 2>&1; sync; (echo more >>FOLDER/NAME) 2>&1 && sync || echo refused";

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_disk_that_is_full_inside_is_that_seat_s_trouble_alone() {
    isolated!(a_disk_that_is_full_inside_is_that_seat_s_trouble_alone, || {
        run(&[], async |bed| {
            let (full, other) = (bed.seat(1), bed.seat(2));
            let (wish, others_wish) = (bed.spec(&full, "latest"), bed.spec(&other, "latest"));
            let (made, others) = tokio::join!(bed.running(&wish), bed.running(&others_wish));
            // The root, by a folder in it that is the learner's, and the workspace; then what is left for root alone.
            for (user, name) in [(None, "fill"), (Some("root"), "rest")] {
                for folder in ["/srv", "/workspace"] {
                    let script = FILL.replace("FOLDER", folder).replace("NAME", name);
                    let said = bed.shell_as(&full, user, &script).await;
                    assert!(said.contains("No space left on device"), "{user:?} {folder}: {said}");
                }
            }

            // It lives, also when its workspace has to be started again, and the other one has not noticed.
            assert_eq!(bed.shell(&full, "echo alive").await, "alive");
            bed.agent(&full).await.signal(Signal::TERM).await.unwrap();
            bed.until(&full, |health| health.workload.restarts == 1 && health.workload.pid.is_some()).await;
            let listed = bed.until_running(&full).await;
            assert_eq!((&listed.id, listed.ip), (&made.id, made.ip));
            bed.answers(&listed);
            bed.answers(&others);
            bed.shell(&other, "dd if=/dev/zero of=/workspace/own bs=64k count=16 conv=fsync 2>&1").await;

            // The host gave no more than the disks' size, but for what its own file system notes of them.
            for disk in ["scratch.img", "data.img"] {
                let (allocated, length) = bed.allocated(&full, disk);
                assert_eq!(length, 32 << 20, "{disk} grew");
                assert!(allocated > 20 << 20, "{disk} takes {allocated} bytes, and was to be full");
                assert!(allocated <= (32 << 20) + (1 << 20), "{disk} takes {allocated} bytes");
            }
            let (console, _) = bed.allocated(&full, "console.log");
            assert!(console < 1 << 20, "{}", bed.console(&full));

            // Room that is made can be used.
            bed.shell_as(&full, Some("root"), "rm /srv/* /workspace/fill /workspace/rest").await;
            bed.shell(&full, "for folder in /srv /workspace; do echo again >$folder/again; done; sync").await;
            tokio::join!(bed.destroy(&full), bed.destroy(&other));
        });
    });
}
