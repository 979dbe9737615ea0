//! Wishes that no machine can have.

use provider_microvm::MicrovmProvider;
use seats::{Provider as _, ProviderError, Timeline};

use crate::bed::{below, run, run_with};
use crate::isolated;

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn too_little_memory_is_refused_before_anything_is_made() {
    isolated!(too_little_memory_is_refused_before_anything_is_made, || {
        run(&[], async |bed| {
            let (least, nothing) = (bed.host.config.least_memory_mib, bed.left());
            let files = below(&bed.host.config.state_dir);
            let mut wish = bed.spec(&bed.seat(1), "latest");
            wish.limits.memory_mib = least - 1;
            let refused = bed.provider().create(&wish, &Timeline::default()).await.unwrap_err();
            assert!(matches!(refused, ProviderError::Refused { .. }), "{refused:?}");
            let words = refused.to_string();
            assert!(
                words.contains("demo/1")
                    && words.contains(&format!("memory_mib is {}", least - 1))
                    && words.contains("microvm.least_memory_mib"),
                "{words}"
            );
            assert_eq!(bed.left(), nothing);
            assert_eq!(bed.listed(&wish.seat).await, None);
            // Not even its image was converted.
            assert_eq!(below(&bed.host.config.state_dir), files);

            // The least is enough.
            wish.limits.memory_mib = least;
            bed.running(&wish).await;
            bed.destroy(&wish.seat).await;
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_disk_that_is_too_small_is_refused_before_anything_is_made() {
    isolated!(a_disk_that_is_too_small_is_refused_before_anything_is_made, || {
        run(&[], async |bed| {
            let state = bed.host.folder.path().join("another");
            for (setting, scratch_mib, data_mib) in
                [("microvm.scratch_mib", 15, 32), ("microvm.data_mib", 32, 15)]
            {
                let mut config = bed.host.config.clone();
                (config.state_dir, config.scratch_mib, config.data_mib) =
                    (state.clone(), scratch_mib, data_mib);
                let refused = MicrovmProvider::new(config, None).unwrap_err().to_string();
                assert_eq!(refused, format!("{setting} is 15, and a disk has at least 16 MiB"));
                assert!(!state.exists());
            }
        });
        // The least is enough.
        let least =
            |config: &mut provider_microvm::MicrovmConfig| (config.scratch_mib, config.data_mib) = (16, 16);
        run_with(&[], least, async |bed| {
            let wish = bed.spec(&bed.seat(1), "latest");
            bed.running(&wish).await;
            bed.shell(&wish.seat, "for folder in /srv /workspace; do echo hello >$folder/hello; done; sync")
                .await;
            bed.destroy(&wish.seat).await;
        });
    });
}
