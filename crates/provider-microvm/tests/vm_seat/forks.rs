//! A learner who starts processes until there are no more.

use guest_protocol::ExecRequest;
use seats::{Provider as _, Scope};

use crate::bed::{run, until};
use crate::isolated;

/// Starts itself twice and again, and goes on when nothing can be started.
const BOMB: &str = "cat >/workspace/bomb <<'END'
while :; do (sh /workspace/bomb & sh /workspace/bomb & sleep 1000) 2>/dev/null; done
END
sh /workspace/bomb & sh /workspace/bomb & sleep 1000";

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_fork_bomb_ends_at_the_limit_of_its_seat() {
    isolated!(a_fork_bomb_ends_at_the_limit_of_its_seat, || {
        run(&[], async |bed| {
            let (bombed, other) = (bed.seat(1), bed.seat(2));
            let (wish, others_wish) = (bed.spec(&bombed, "latest"), bed.spec(&other, "latest"));
            let (made, others) = tokio::join!(bed.running(&wish), bed.running(&others_wish));
            let boot = bed.agent(&bombed).await.health().await.unwrap().boot_id;
            let explode = async || {
                let before = refused(bed, &bombed).await;
                let request = ExecRequest::new(["/bin/sh", "-c", BOMB]);
                let session = bed.agent(&bombed).await.exec(&request).await.unwrap();
                until(async || refused(bed, &bombed).await > before).await;
                session
            };
            let session = explode().await;

            // The limit holds, the agent answers, programs can be run from outside, and it is listed.
            let agent = bed.agent(&bombed).await;
            assert_eq!(agent.health().await.unwrap().boot_id, boot);
            let current: u32 = bed
                .shell(&bombed, "read number </sys/fs/cgroup/seat/pids.current; echo $number")
                .await
                .parse()
                .unwrap();
            // Those that come from outside are let in above it.
            assert!((16..=64 + 8).contains(&current), "{current} processes where 64 are allowed");
            assert_eq!(bed.listed(&bombed).await.unwrap().id, made.id);
            assert_eq!(bed.provider().list(&Scope::All).await.unwrap().len(), 2);
            bed.answers(&others);

            // All of the learner's processes killed, also those that came meanwhile: the workspace is started again.
            let alone = async || {
                bed.exec(&bombed, &["/bin/sh", "-c", "kill -9 -1"]).await;
                bed.shell(&bombed, "read number </sys/fs/cgroup/seat/pids.current; echo $number")
                    .await
                    .parse::<u32>()
                    .unwrap()
                    < 8
            };
            until(alone).await;
            drop(session);
            bed.until(&bombed, |health| health.workload.restarts >= 1 && health.workload.pid.is_some()).await;
            let listed = bed.until_running(&bombed).await;
            assert_eq!((&listed.id, listed.ip), (&made.id, made.ip));
            bed.answers(&listed);

            // In the middle of another one it is destroyed.
            let _session = explode().await;
            bed.destroy(&bombed).await;
            assert_eq!(bed.listed(&bombed).await, None);
            bed.answers(&others);
            bed.destroy(&other).await;
        });
    });
}

/// How often the seat was refused a process.
pub(crate) async fn refused(bed: &crate::bed::Bed, seat: &seats::SeatRef) -> u64 {
    let said = bed.shell(seat, "read word number </sys/fs/cgroup/seat/pids.events; echo $number").await;
    said.parse().unwrap()
}
