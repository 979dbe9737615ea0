//! The images of the testbed (`images/testbed`) as archives, made without an engine: a busybox, a script, and users.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{BootError, Kernel};

/// What the images of [`archives`] are called; which one it is says the tag.
pub const IMAGE: &str = "microvm-testbed";

/// How one image is called, and what its script is told to do.
const TAGS: [(&str, &[&str]); 7] = [
    ("latest", &["serve"]),
    ("other", &["serve"]),
    ("exits", &["exits"]),
    ("mute", &["idle"]),
    ("slow", &["slow"]),
    ("stubborn", &["stubborn"]),
    ("remembers", &["sh", "-c", REMEMBERS]),
];

/// Serves its workspace, where it writes a line into `starts` whenever it is started, on the disk before it answers; whoever asks for
/// `/cgi-bin/fill` has it write 8 MiB there and waits until they are on the disk.
const REMEMBERS: &str = "set -e; cd /workspace; echo started >> starts; cat /www/health > health; mkdir -p cgi-bin; \
                         printf '#!/bin/sh\necho\ndd if=/dev/urandom of=/workspace/blob bs=1M count=8 conv=fsync 2>&1\necho ended $?\n' \
                         > cgi-bin/fill; chmod 755 cgi-bin/fill; sync; \
                         httpd -h /workspace -p 3001; exec httpd -f -h /workspace -p 3002";

/// Programs of busybox that the script and tests use.
const APPLETS: [&str; 16] = [
    "mkdir", "chmod", "sh", "httpd", "sleep", "cat", "echo", "printf", "nc", "id", "ls", "sync", "env",
    "cut", "dd", "df",
];

/// Writes an archive of each image into a folder, as `docker save` writes them: [`IMAGE`] with the tags `latest`, `other`, `exits`,
/// `mute`, `slow`, `stubborn`, and `remembers`, whose workspace tells at `/starts` on either port how often it was started.
///
/// # Errors
/// When there is no busybox, or a file cannot be read or written.
pub fn archives(folder: &Path) -> Result<(), BootError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/testbed/testbed.sh");
    let script = fs::read(&script).map_err(BootError::io(&script))?;
    let busybox = Kernel::find()?.busybox().to_owned();
    let busybox = fs::read(&busybox).map_err(BootError::io(&busybox))?;
    let layer = layer(&script, &busybox).map_err(BootError::io(folder))?;
    for (tag, behaviour) in TAGS {
        let path = folder.join(format!("{tag}.tar"));
        let archive = archive(tag, behaviour, &layer).map_err(BootError::io(&path))?;
        fs::write(&path, archive).map_err(BootError::io(&path))?;
    }
    Ok(())
}

fn layer(script: &[u8], busybox: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode, owner) in [
        ("bin", 0o755, 0),
        ("etc", 0o755, 0),
        ("tmp", 0o1777, 0),
        ("www", 0o755, 0),
        ("workspace", 0o755, 1000),
    ] {
        let mut header = header(mode, owner, tar::EntryType::Directory);
        layer.append_data(&mut header, path, &b""[..])?;
    }
    file(&mut layer, "bin/busybox", 0o755, busybox)?;
    for applet in APPLETS {
        let mut header = header(0o777, 0, tar::EntryType::Symlink);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    file(&mut layer, "bin/testbed", 0o755, script)?;
    let users = b"root:x:0:0:root:/:/bin/sh\nlearner:x:1000:1000::/workspace:/bin/sh\n";
    file(&mut layer, "etc/passwd", 0o644, users)?;
    file(&mut layer, "etc/group", 0o644, b"root:x:0:\nlearner:x:1000:\n")?;
    file(&mut layer, "www/health", 0o644, b"{\"status\": \"ok\", \"service\": \"testbed\"}\n")?;
    layer.into_inner()
}

fn archive(tag: &str, behaviour: &[&str], layer: &[u8]) -> io::Result<Vec<u8>> {
    // As images call it; the guests are of the host's processor.
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {
            "User": "1000:1000", "WorkingDir": "/workspace",
            "Env": ["PATH=/bin", "WORKSPACE_DIR=/workspace"],
            "Entrypoint": ["/bin/testbed"], "Cmd": behaviour,
            "ExposedPorts": {"3001/tcp": {}, "3002/tcp": {}},
            // Two images that do the same are two images all the same.
            "Labels": {"tag": tag},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(layer))]},
    });
    let config = config.to_string().into_bytes();
    let name = format!("{}.json", hex(&config));
    let manifest = json!([{"Config": name, "RepoTags": [format!("{IMAGE}:{tag}")], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    file(&mut archive, &name, 0o644, &config)?;
    file(&mut archive, "layer.tar", 0o644, layer)?;
    file(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
    archive.into_inner()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(mode, 0, tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

fn header(mode: u32, owner: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    header
}
