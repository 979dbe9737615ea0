//! A create that fails at its last steps, beside a seat that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use guest_boot::SetupOptions;
use provider_microvm::MicrovmConfig;
use seats::{Provider as _, ProviderError, Stage, Timeline};
use vm_testbed::Kernel;

use crate::bed::{Bed, run};
use crate::isolated;

/// A prepared kernel whose first process is no agent: it runs, and answers nobody.
fn agentless(folder: &Path) -> PathBuf {
    let (kernel, boot) = (Kernel::find().unwrap(), folder.join("agentless"));
    guest_boot::setup(&SetupOptions {
        from: Some(kernel.source().to_owned()),
        agent: kernel.busybox().to_owned(),
        folder: boot.clone(),
        unpack: false,
    })
    .unwrap();
    boot
}

/// Serves with other settings; seats run on.
async fn serve_with(bed: &mut Bed, config: MicrovmConfig) {
    bed.leave();
    bed.host.config = config;
    bed.serve().await;
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_guest_whose_agent_does_not_answer_is_taken_back_beside_one_that_runs() {
    isolated!(a_guest_whose_agent_does_not_answer_is_taken_back_beside_one_that_runs, || {
        run(&[], async |bed| {
            let (neighbour, failing) = (bed.seat(1), bed.seat(2));
            let made = bed.running(&bed.spec(&neighbour, "latest")).await;
            let boot = bed.agent(&neighbour).await.health().await.unwrap().boot_id;
            let (whole, alone) = (bed.host.config.clone(), bed.left());

            let broken = MicrovmConfig {
                boot: Some(agentless(bed.host.folder.path())),
                start_timeout: Duration::from_secs(5),
                ..whole.clone()
            };
            serve_with(bed, broken).await;
            let wish = bed.spec(&failing, "latest");
            let error = bed.provider().create(&wish, &Timeline::default()).await.unwrap_err();
            let words = error.to_string();
            assert!(matches!(error, ProviderError::Failed { stage: Stage::Start, .. }), "{error:?}");
            assert!(
                words.starts_with("seat demo/2: ") && words.contains("did not answer within 5 s"),
                "{words}"
            );
            assert_eq!(bed.left(), alone, "something of the failed one is left");
            assert_eq!(bed.listed(&failing).await, None);
            bed.answers(&made);

            // The same seat, as it was, and room for the other one.
            serve_with(bed, whole).await;
            assert_eq!(bed.until_running(&neighbour).await, made);
            assert_eq!(bed.agent(&neighbour).await.health().await.unwrap().boot_id, boot);
            let other = bed.running(&wish).await;
            assert_ne!(other.ip, made.ip);
            bed.answers(&made);
            tokio::join!(bed.destroy(&neighbour), bed.destroy(&failing));
        });
    });
}
