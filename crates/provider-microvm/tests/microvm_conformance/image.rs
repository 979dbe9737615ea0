//! The images of the testbed (`images/testbed`), made without an engine: a busybox, a script, and users.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rootfs::Digest;
use serde_json::json;

/// How one image is called, and what its script is told to do.
const TAGS: [(&str, &str); 6] = [
    ("latest", "serve"),
    ("other", "serve"),
    ("exits", "exits"),
    ("mute", "idle"),
    ("slow", "slow"),
    ("stubborn", "stubborn"),
];

/// What the images are called.
pub(crate) const NAME: &str = "microvm-testbed";

/// Programs of busybox that the script and the checks use.
const APPLETS: [&str; 14] =
    ["sh", "httpd", "sleep", "cat", "echo", "printf", "nc", "id", "ls", "sync", "env", "cut", "dd", "df"];

/// Writes an archive of each image into a folder.
pub(crate) fn archives(folder: &Path) -> Result<()> {
    let layer = layer()?;
    for (tag, behaviour) in TAGS {
        fs::write(folder.join(format!("{tag}.tar")), archive(tag, behaviour, &layer)?)?;
    }
    Ok(())
}

fn layer() -> Result<Vec<u8>> {
    let kernel = vm_testbed::Kernel::find()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/testbed/testbed.sh");
    let script = fs::read(&script).with_context(|| format!("reading {}", script.display()))?;
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
    file(&mut layer, "bin/busybox", 0o755, &fs::read(kernel.busybox())?)?;
    for applet in APPLETS {
        let mut header = header(0o777, 0, tar::EntryType::Symlink);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    file(&mut layer, "bin/testbed", 0o755, &script)?;
    file(
        &mut layer,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/:/bin/sh\nlearner:x:1000:1000::/workspace:/bin/sh\n",
    )?;
    file(&mut layer, "etc/group", 0o644, b"root:x:0:\nlearner:x:1000:\n")?;
    file(&mut layer, "www/health", 0o644, b"{\"status\": \"ok\", \"service\": \"testbed\"}\n")?;
    Ok(layer.into_inner()?)
}

/// What `docker save` writes.
fn archive(tag: &str, behaviour: &str, layer: &[u8]) -> Result<Vec<u8>> {
    let config = json!({
        "architecture": rootfs::source::host_architecture(), "os": "linux",
        "config": {
            "User": "1000:1000", "WorkingDir": "/workspace",
            "Env": ["PATH=/bin", "WORKSPACE_DIR=/workspace"],
            "Entrypoint": ["/bin/testbed"], "Cmd": [behaviour],
            "ExposedPorts": {"3001/tcp": {}, "3002/tcp": {}},
            // Two images that do the same are two images all the same.
            "Labels": {"tag": tag},
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": name, "RepoTags": [format!("{NAME}:{tag}")], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    file(&mut archive, &name, 0o644, &config)?;
    file(&mut archive, "layer.tar", 0o644, layer)?;
    file(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
    Ok(archive.into_inner()?)
}

fn file(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = header(mode, 0, tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    Ok(archive.append_data(&mut header, path, content)?)
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
