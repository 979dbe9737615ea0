//! Images that are unlike others, and images that cannot be a workspace.

use guest_protocol::{ExecRequest, Signal, WorkloadState};
use seats::{Provider as _, ProviderError, Status, Timeline};
use serde_json::json;
use vm_testbed::Image;

use crate::bed::{run, run_with, until};
use crate::isolated;

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn an_image_without_a_shell_is_a_seat() {
    isolated!(an_image_without_a_shell_is_a_seat, || {
        run(&[("bare", Image::without_a_shell().unwrap())], async |bed| {
            let seat = bed.seat(1);
            let made = bed.running(&bed.spec(&seat, "bare")).await;
            assert_eq!(made.ports, [3001]);
            let id = bed.exec(&seat, &["/busybox", "id"]).await;
            assert_eq!(String::from_utf8_lossy(&id.out).trim(), "uid=1234 gid=99 groups=99", "{id:?}");
            let request = ExecRequest::new(["/bin/sh", "-c", "echo hello"]);
            let refused = bed.agent(&seat).await.run(&request, b"", 1 << 20).await.unwrap_err().to_string();
            assert!(refused.contains("/bin/sh is not in the image"), "{refused}");
            bed.destroy(&seat).await;
        });
    });
}

/// The testbed's image with something else as its program.
fn program(entrypoint: &[&str]) -> Image {
    let mut image = Image::testbed().unwrap();
    image.config["Entrypoint"] = json!(entrypoint);
    image.config["Cmd"] = json!([]);
    image
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn an_image_that_cannot_be_a_workspace_is_refused_in_words() {
    isolated!(an_image_that_cannot_be_a_workspace_is_refused_in_words, || {
        let mut stranger = Image::testbed().unwrap();
        stranger.config["User"] = json!("teacher");
        let mut foreign = program(&["/bin/server"]);
        // The head of an ELF file of 64 bits, for AArch64 (elf(5): e_machine is 183).
        let mut elf = vec![0; 4096];
        elf[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0");
        foreign.file("bin/server", 0o755, &elf);
        let images = [
            ("missing", program(&["/opt/server"])),
            ("unknown", program(&["server", "--port", "3001"])),
            ("foreign", foreign),
            ("stranger", stranger),
        ];
        run(&images, async |bed| {
            let nothing = bed.left();
            let mut others = Vec::new();
            for (tag, words) in [
                ("missing", "/opt/server does not start: it is not there"),
                ("unknown", "server does not start: no folder of PATH has it"),
                ("foreign", "/bin/server is for arm64, and the image is for \"amd64\""),
                ("stranger", "the image has no user \"teacher\""),
            ] {
                let wish = bed.spec(&bed.seat(1), tag);
                let refused = bed.provider().create(&wish, &Timeline::default()).await.unwrap_err();
                assert!(matches!(refused, ProviderError::ImageUnusable { .. }), "{refused:?}");
                let said = refused.to_string();
                assert!(said.starts_with(&format!("image {} cannot be started: ", wish.image)), "{said}");
                if !said.contains(words) {
                    others.push(said);
                }
                assert_eq!(bed.left(), nothing);
            }
            assert!(others.is_empty(), "said in other words: {others:#?}");
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn a_workspace_that_ends_or_cannot_begin_is_told_in_words() {
    isolated!(a_workspace_that_ends_or_cannot_begin_is_told_in_words, || {
        // A program that the learner may delete, and that is started anew when it ends.
        let mut own = program(&["/workspace/server"]);
        own.file("workspace/server", 0o755, b"#!/bin/sh\nexec /bin/testbed serve\n");
        run(&[("own", own)], async |bed| {
            let (ends, deleted) = (bed.seat(1), bed.seat(2));
            let (wish, other) = (bed.spec(&ends, "exits"), bed.spec(&deleted, "own"));
            let (made, _) = tokio::join!(bed.create(&wish), bed.running(&other));
            assert_eq!(made.status, Status::Error, "{made:?}");
            let words = Some("the workspace exits with code 3: boom: no licence file");
            assert_eq!(made.reason.as_deref(), words);
            assert_eq!(bed.listed(&ends).await.unwrap().reason.as_deref(), words);

            bed.shell(&deleted, "rm /workspace/server").await;
            bed.agent(&deleted).await.signal(Signal::TERM).await.unwrap();
            bed.until(&deleted, |health| health.workload.state == WorkloadState::Failed).await;
            let words = "the workspace cannot be started: the program /workspace/server is not in the image";
            until(async || {
                let listed = bed.listed(&deleted).await.unwrap();
                (listed.status, listed.reason.as_deref()) == (Status::Error, Some(words))
            })
            .await;
            // The machine runs on, for whoever wants to look and to mend.
            assert_eq!(bed.shell(&deleted, "ls /workspace").await, "");
            tokio::join!(bed.destroy(&ends), bed.destroy(&deleted));
        });
    });
}

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn an_image_whose_workspace_has_no_room_on_its_disk_is_told_in_words() {
    isolated!(an_image_whose_workspace_has_no_room_on_its_disk_is_told_in_words, || {
        let mut image = Image::testbed().unwrap();
        for number in 0..6 {
            image.file(&format!("workspace/lesson-{number}"), 0o644, &vec![b'x'; 4 << 20]);
        }
        let smallest = |config: &mut provider_microvm::MicrovmConfig| config.data_mib = 16;
        run_with(&[("large", image)], smallest, async |bed| {
            let seat = bed.seat(1);
            let made = bed.create(&bed.spec(&seat, "large")).await;
            assert_eq!(made.status, Status::Error, "{made:?}");
            let reason = made.reason.unwrap();
            assert!(reason.contains("/workspace") && reason.contains("No space left on device"), "{reason}");
            bed.destroy(&seat).await;
        });
    });
}
