//! Where the secrets of a seat are not, and who cannot get at what is a seat's.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use guest_protocol::{ExecRequest, Exit};
use seats::ApiKey;

use crate::bed::{below, holds_one, run};
use crate::isolated;

const KEY: &str = "sk-canary-0f8a61d2c7";
const VALUE: &str = "canary-value-9b3e";
/// Somebody who has nothing to do with seats.
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "vm tier: needs root, QEMU and a guest kernel; cargo xtask test runs it"]
fn secrets_are_in_the_workspace_and_nowhere_else() {
    isolated!(secrets_are_in_the_workspace_and_nowhere_else, || {
        run(&[], async |bed| {
            let (seat, other) = (bed.seat(1), bed.seat(2));
            let mut wish = bed.spec(&seat, "latest");
            wish.api_key = Some(ApiKey::new(KEY.into()).unwrap());
            wish.env.insert("LESSON_TOKEN", VALUE.into()).unwrap();
            let others_wish = bed.spec(&other, "latest");
            tokio::join!(bed.running(&wish), bed.running(&others_wish));

            // The workspace has them, and in the guest nobody else: not the kernel, not the agent, not another user.
            let pid = bed.agent(&seat).await.health().await.unwrap().workload.pid.unwrap();
            let environ = format!("/proc/{pid}/environ");
            let own = bed.shell(&seat, &format!("cat {environ}")).await;
            assert!(own.contains(KEY) && own.contains(VALUE), "{own:?}");
            let command_line = bed.shell(&seat, "cat /proc/cmdline").await;
            assert!(command_line.contains("console="), "{command_line}");
            let agents = bed.shell_as(&seat, Some("root"), "cat /proc/1/cmdline").await;
            for text in [command_line, agents] {
                assert!(!text.contains(KEY) && !text.contains(VALUE), "{text}");
            }
            for (user, of) in [("4321:4321", environ.as_str()), ("root", "/proc/1/environ")] {
                let mut request = ExecRequest::new(["/bin/cat", of]);
                request.user = Some(user.into());
                let refused = bed.agent(&seat).await.run(&request, b"", 1 << 20).await.unwrap();
                assert!(refused.exit != Exit::Code(0) && refused.out.is_empty(), "{refused:?}");
            }

            // On the host: in no process's arguments or environment, whoever may read them, and in no file.
            let mut monitors = 0;
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                for name in ["cmdline", "environ"] {
                    let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
                    monitors += usize::from(holds(&bytes, "guest=demo/1"));
                    assert!(!tells(&bytes), "{} tells", entry.path().join(name).display());
                }
            }
            assert!(monitors > 0, "the processes that were looked at are not those of seats");
            let all = below(bed.host.folder.path());
            for path in &all {
                if path.is_file() {
                    assert!(!holds_one(path, &[KEY, VALUE]), "{} tells", path.display());
                }
            }

            // What is a seat's: nobody else's, and not another seat's.
            let seats = bed.host.folder.path().join("state/microvm/workshops");
            let own: Vec<_> = all.iter().filter(|path| path.starts_with(&seats)).collect();
            let sockets =
                own.iter().filter(|path| fs::symlink_metadata(path).unwrap().file_type().is_socket());
            assert!(sockets.count() >= 4 && own.iter().any(|path| path.ends_with("1/data.img")), "{own:?}");
            let neighbour = fs::metadata(format!("/proc/{}", bed.monitor(&other))).unwrap().uid();
            assert!(
                neighbour != 0
                    && neighbour != fs::metadata(format!("/proc/{}", bed.monitor(&seat))).unwrap().uid()
            );
            for path in own {
                assert!(!may(NOBODY, path), "{} is everybody's", path.display());
                assert!(
                    path.starts_with(bed.folder(&other)) || !may(neighbour, path),
                    "{} is its neighbour's",
                    path.display()
                );
            }
            tokio::join!(bed.destroy(&seat), bed.destroy(&other));
        });
    });
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn tells(bytes: &[u8]) -> bool {
    holds(bytes, KEY) || holds(bytes, VALUE)
}

/// Whether a user of the host may read, write or, if it is a folder, list something.
fn may(uid: u32, path: &Path) -> bool {
    let user = uid.to_string();
    let mut asked = Command::new("setpriv");
    asked.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--", "sh", "-c"]);
    let asked = asked.args([r#"[ -r "$1" ] || [ -w "$1" ]"#, "sh"]).arg(path).output().unwrap();
    match asked.status.code() {
        Some(0) => true,
        Some(1) if asked.stderr.is_empty() => false,
        _ => panic!("{asked:?}"),
    }
}
