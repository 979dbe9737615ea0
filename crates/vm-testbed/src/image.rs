//! The images of the testbed (`images/testbed`) as archives, made without an engine: a busybox, a script, and users.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
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
const APPLETS: [&str; 20] = [
    "mkdir", "chmod", "sh", "httpd", "sleep", "cat", "echo", "printf", "nc", "id", "ls", "sync", "env",
    "cut", "dd", "df", "rm", "tail", "wc", "grep",
];

/// Writes an archive of each image into a folder, as `docker save` writes them: [`IMAGE`] with the tags `latest`, `other`, `exits`,
/// `mute`, `slow`, `stubborn`, and `remembers`, whose workspace tells at `/starts` on either port how often it was started.
///
/// # Errors
/// When there is no busybox, or a file cannot be read or written.
pub fn archives(folder: &Path) -> Result<(), BootError> {
    let image = Image::testbed()?;
    for (tag, behaviour) in TAGS {
        let mut image = image.clone();
        image.config["Cmd"] = json!(behaviour);
        // Two images that do the same are two images all the same.
        image.config["Labels"] = json!({"tag": tag});
        image.save(folder, tag)?;
    }
    Ok(())
}

#[derive(Clone, Debug)]
struct Entry {
    path: String,
    mode: u32,
    owner: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    File(Vec<u8>),
    Folder,
    Link(String),
}

/// An image of one layer, made file by file.
#[derive(Clone, Debug)]
pub struct Image {
    entries: Vec<Entry>,
    /// Its configuration, as in OCI's image specification.
    pub config: Value,
}

impl Image {
    /// One that serves on port 3001 and has nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self { entries: Vec::new(), config: json!({"ExposedPorts": {"3001/tcp": {}}}) }
    }

    /// The testbed's: a busybox as the shell and what tests use, `/bin/testbed`, which answers on both ports as the user 1000 in its
    /// `/workspace`, and a folder `/srv` of that user's outside of it.
    ///
    /// # Errors
    /// When there is no busybox, or a file cannot be read.
    pub fn testbed() -> Result<Self, BootError> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/testbed/testbed.sh");
        let script = fs::read(&script).map_err(BootError::io(&script))?;
        let mut image = Self::empty();
        for (path, mode, owner) in [
            ("bin", 0o755, 0),
            ("etc", 0o755, 0),
            ("srv", 0o755, 1000),
            ("tmp", 0o1777, 0),
            ("www", 0o755, 0),
            ("workspace", 0o755, 1000),
        ] {
            image.folder(path, mode, owner);
        }
        image.file("bin/busybox", 0o755, &busybox()?);
        for applet in APPLETS {
            image.link(&format!("bin/{applet}"), "busybox");
        }
        image.file("bin/testbed", 0o755, &script);
        let users = b"root:x:0:0:root:/:/bin/sh\nlearner:x:1000:1000::/workspace:/bin/sh\n";
        image.file("etc/passwd", 0o644, users);
        image.file("etc/group", 0o644, b"root:x:0:\nlearner:x:1000:\n");
        image.file("www/health", 0o644, b"{\"status\": \"ok\", \"service\": \"testbed\"}\n");
        image.config = json!({
            "User": "1000:1000", "WorkingDir": "/workspace",
            "Env": ["PATH=/bin", "WORKSPACE_DIR=/workspace"],
            "Entrypoint": ["/bin/testbed"], "Cmd": ["serve"],
            "ExposedPorts": {"3001/tcp": {}, "3002/tcp": {}},
        });
        Ok(image)
    }

    /// One that has no shell, no folders of a system, and no users: one program, and what it serves on port 3001.
    ///
    /// # Errors
    /// When there is no busybox.
    pub fn without_a_shell() -> Result<Self, BootError> {
        let mut image = Self::empty();
        image.file("busybox", 0o755, &busybox()?);
        image.file("www/health", 0o644, b"{\"status\": \"ok\"}\n");
        image.config["Entrypoint"] = json!(["/busybox", "httpd", "-f", "-h", "/www", "-p", "3001"]);
        image.config["User"] = json!("1234:99");
        Ok(image)
    }

    /// Adds a file of root's.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> &mut Self {
        self.add(path, mode, 0, What::File(content.to_vec()))
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: &str, mode: u32, owner: u64) -> &mut Self {
        self.add(path, mode, owner, What::Folder)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path, 0o777, 0, What::Link(target.into()))
    }

    fn add(&mut self, path: &str, mode: u32, owner: u64, what: What) -> &mut Self {
        self.entries.push(Entry { path: path.into(), mode, owner, what });
        self
    }

    /// Writes its archive into a folder, as `docker save` writes it, with this tag of [`IMAGE`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path, tag: &str) -> Result<(), BootError> {
        let path = folder.join(format!("{tag}.tar"));
        let archive = self.archive(tag).map_err(BootError::io(&path))?;
        fs::write(&path, archive).map_err(BootError::io(&path))
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for Entry { path, mode, owner, what } in &self.entries {
            match what {
                What::File(content) => append(&mut layer, path, *mode, *owner, content)?,
                What::Folder => {
                    let mut header = header(*mode, *owner, tar::EntryType::Directory);
                    layer.append_data(&mut header, path, &b""[..])?;
                }
                What::Link(target) => {
                    let mut header = header(*mode, *owner, tar::EntryType::Symlink);
                    layer.append_link(&mut header, path, target)?;
                }
            }
        }
        layer.into_inner()
    }

    fn archive(&self, tag: &str) -> io::Result<Vec<u8>> {
        let layer = self.layer()?;
        // As images call it; the guests are of the host's processor.
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
        });
        let config = config.to_string().into_bytes();
        let name = format!("{}.json", hex(&config));
        let manifest =
            json!([{"Config": name, "RepoTags": [format!("{IMAGE}:{tag}")], "Layers": ["layer.tar"]}]);
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, &name, 0o644, 0, &config)?;
        append(&mut archive, "layer.tar", 0o644, 0, &layer)?;
        append(&mut archive, "manifest.json", 0o644, 0, manifest.to_string().as_bytes())?;
        archive.into_inner()
    }
}

fn busybox() -> Result<Vec<u8>, BootError> {
    let busybox = Kernel::find()?.busybox().to_owned();
    fs::read(&busybox).map_err(BootError::io(&busybox))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    owner: u64,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(mode, owner, tar::EntryType::Regular);
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
