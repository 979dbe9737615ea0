//! Any bytes, and honest archives with a few of their bytes changed: what must hold for all of them, in as many cases as a
//! test run has time for. `cargo fuzz` runs the same for longer (`fuzz/README.md`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "hostile/archive.rs"]
#[allow(dead_code, reason = "shared with the table of hostile images")]
mod archive;
mod fuzz_bodies;
#[path = "fuzz_bodies/honest.rs"]
mod honest;
#[path = "hostile/image.rs"]
#[allow(dead_code, reason = "shared with the table of hostile images")]
mod image;

use proptest::prelude::*;

/// Makes the checksum of a header right again, so that what is behind it is looked at.
fn reseal(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            let whole: [u8; 512] = (&*block).try_into().unwrap();
            block.copy_from_slice(&archive::Archive::new().block(whole).0);
        }
    }
}

#[test]
fn honest_layers_are_read() {
    for bytes in honest::layers() {
        let mut budget = rootfs::layer::Budget::new(fuzz_bodies::LIMITS);
        let layer = rootfs::layer::scan(0, &bytes[..], &mut budget).unwrap();
        assert!(layer.entries.len() > 1);
        fuzz_bodies::layer(&bytes);
    }
}

/// Writes what `cargo fuzz` begins with, into the folder that the variable names.
#[test]
fn seeds() {
    let Some(folder) = std::env::var_os("ROOTFS_FUZZ_SEEDS") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    for (number, bytes) in honest::layers().iter().enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("honest-{number}")), bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn any_bytes_are_a_layer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        fuzz_bodies::layer(&bytes);
    }

    #[test]
    fn a_damaged_layer_is_read_in_the_same_way_twice_or_refused(
        which in 0..4_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        sealed in any::<bool>(),
    ) {
        let mut bytes = honest::layers().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if sealed {
            reseal(&mut bytes);
        }
        fuzz_bodies::layer(&bytes);
    }

    #[test]
    fn damaged_documents_are_refused_in_words(
        which in 0..4_u8,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let digest = rootfs::Digest::of(b"x").to_string();
        let mut document = format!(
            r#"{{"manifests": [{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{digest}"}}],
                "config": {{"Env": ["A=b"], "Labels": null}}, "rootfs": {{"diff_ids": ["{digest}"]}}}}"#
        ).into_bytes();
        if which == 1 {
            document = format!(r#"[{{"Config": "blobs/sha256/{digest}", "RepoTags": ["a:b"], "Layers": ["x"]}}]"#).into_bytes();
        }
        if which == 2 {
            document = archive::Archive::new().file("manifest.json", &document).end();
        }
        for (at, byte) in damage {
            let at = at.index(document.len());
            document[at] = byte;
        }
        fuzz_bodies::documents(&[&[which][..], &document].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn any_layers_become_a_sound_file_system_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_bodies::image(&bytes);
    }
}
