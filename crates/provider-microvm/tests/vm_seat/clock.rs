//! The clock of a guest that stood still, or that is another one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guest_protocol::client::{Agent, LinkOptions};
use provider_microvm::vmm::{Monitor as _, Qemu, QemuOptions, RunFolder};

use crate::bed::{run_with, until};
use crate::isolated;

/// How far a clock may be off that was set.
const NEAR: Duration = Duration::from_secs(3);

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// How far a guest's clock is from the host's, beside what asking took.
pub(crate) async fn drift(agent: &Agent) -> Duration {
    let before = now();
    let guests = Duration::from_millis(agent.health().await.unwrap().clock_unix_ms);
    guests.abs_diff(guests.clamp(before, now()))
}

/// Without a service: with one, a machine is never asked to stand still but by the host, which stands still then, too.
#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_clock_that_stood_still_is_set_when_the_service_comes_back() {
    isolated!(a_clock_that_stood_still_is_set_when_the_service_comes_back, || {
        // Not by looking now and then.
        let seldom =
            |config: &mut provider_microvm::MicrovmConfig| config.clock_every = Duration::from_secs(86_400);
        run_with(&[], seldom, async |bed| {
            let seat = bed.seat(1);
            bed.running(&bed.spec(&seat, "latest")).await;
            bed.leave();
            {
                let folder = RunFolder::new(bed.folder(&seat).join("run"));
                let qemu = Qemu::new(QemuOptions::new(bed.host.config.keeper.clone()));
                let vm = qemu.adopt(&seat.to_string(), &folder).await.unwrap().unwrap();
                vm.pause().await.unwrap();
                tokio::time::sleep(NEAR * 4).await;
                vm.resume().await.unwrap();
                let open = || async { vm.connect_agent().await.map_err(std::io::Error::other) };
                let agent = Agent::reach(
                    open,
                    LinkOptions { connect: crate::host::START_TIMEOUT, ..LinkOptions::default() },
                );
                let drift = drift(&agent.await.unwrap()).await;
                assert!(drift > NEAR, "the machine did not stand still: {drift:?}");
            }
            bed.serve().await;
            until(async || drift(&bed.agent(&seat).await).await < NEAR).await;
            bed.answers(&bed.until_running(&seat).await);
            bed.destroy(&seat).await;
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_clock_that_is_another_one_is_set_while_the_service_runs() {
    isolated!(a_clock_that_is_another_one_is_set_while_the_service_runs, || {
        let often =
            |config: &mut provider_microvm::MicrovmConfig| config.clock_every = Duration::from_secs(1);
        run_with(&[], often, async |bed| {
            let seat = bed.seat(1);
            bed.running(&bed.spec(&seat, "latest")).await;
            let hour = Duration::from_secs(3600);
            for wrong in [now() - hour, now() + hour] {
                bed.agent(&seat).await.set_time(u64::try_from(wrong.as_nanos()).unwrap()).await.unwrap();
                until(async || drift(&bed.agent(&seat).await).await < NEAR).await;
                let told: u64 = bed.shell(&seat, "/bin/busybox date +%s").await.parse().unwrap();
                assert!(Duration::from_secs(told).abs_diff(now()) < hour / 2, "programs have another clock");
            }
            bed.destroy(&seat).await;
        });
    });
}
