//! Images as tests want them: one layer in a layout, made from a list of entries.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rootfs::inspect::{Report, inspect};
use rootfs::source::{Choice, Image, host_architecture};
use rootfs::{Digest, Limits};
use serde_json::{Value, json};

use super::program::Program;

#[derive(Clone, Debug)]
struct Entry {
    path: Vec<u8>,
    kind: tar::EntryType,
    mode: u32,
    owner: u64,
    content: Vec<u8>,
    attributes: Vec<(String, Vec<u8>)>,
}

/// An image that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    entries: Vec<Entry>,
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) config: Value,
}

impl Draft {
    /// Nothing at all.
    pub(crate) fn empty() -> Self {
        Self {
            entries: Vec::new(),
            architecture: host_architecture().into(),
            os: "linux".into(),
            config: json!({}),
        }
    }

    /// An image that nothing can be said against.
    pub(crate) fn good() -> Self {
        let mut draft = Self::empty();
        draft.config = json!({
            "User": "learner",
            "Entrypoint": ["/bin/start"],
            "WorkingDir": "/workspace",
            "ExposedPorts": {"3001/tcp": {}, "3002/tcp": {}},
            "Env": ["PATH=/usr/bin:/bin"],
        });
        let program = Program::default().bytes();
        for name in ["bin/start", "bin/sh", "bin/bash"] {
            draft.file(name, 0o755, &program);
        }
        draft.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0::/root:/bin/sh\nlearner:x:1000:1000::/home/learner:/bin/bash\n",
        );
        draft.file("etc/group", 0o644, b"root:x:0:\nlearner:x:1000:\n");
        draft.file("etc/os-release", 0o644, b"ID=test\nVERSION_ID=1\nPRETTY_NAME=\"Test 1\"\n");
        draft.file("etc/ssl/certs/ca-certificates.crt", 0o644, b"certificates");
        draft.file("usr/share/zoneinfo/Europe/Berlin", 0o644, b"TZif");
        for name in ["proc", "sys", "dev", "run", "usr/bin"] {
            draft.folder(name, 0o755);
        }
        draft.folder("tmp", 0o1777);
        draft.folder("home/learner", 0o755).owned(1000);
        draft.folder("workspace", 0o755).owned(1000);
        draft
    }

    fn add(&mut self, path: impl AsRef<[u8]>, kind: tar::EntryType, mode: u32, content: &[u8]) -> &mut Self {
        let path = path.as_ref().to_vec();
        self.entries.retain(|entry| entry.path != path);
        let content = content.to_vec();
        self.entries.push(Entry { path, kind, mode, owner: 0, content, attributes: Vec::new() });
        self
    }

    /// A file; what has the same path goes.
    pub(crate) fn file(&mut self, path: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> &mut Self {
        self.add(path, tar::EntryType::Regular, mode, content)
    }

    pub(crate) fn folder(&mut self, path: impl AsRef<[u8]>, mode: u32) -> &mut Self {
        self.add(path, tar::EntryType::Directory, mode, b"")
    }

    pub(crate) fn link(&mut self, path: impl AsRef<[u8]>, target: &str) -> &mut Self {
        self.add(path, tar::EntryType::Symlink, 0o777, target.as_bytes())
    }

    pub(crate) fn device(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        self.add(path, tar::EntryType::Char, 0o666, b"")
    }

    /// What was added last belongs to somebody.
    pub(crate) fn owned(&mut self, owner: u64) -> &mut Self {
        self.entries.last_mut().unwrap().owner = owner;
        self
    }

    /// What was added last has something in its extended header.
    pub(crate) fn attribute(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.entries.last_mut().unwrap().attributes.push((name.into(), value.into()));
        self
    }

    /// Everything at a path and below goes.
    pub(crate) fn remove(&mut self, path: &str) -> &mut Self {
        let below = format!("{path}/");
        let is_gone =
            |entry: &Entry| entry.path == path.as_bytes() || entry.path.starts_with(below.as_bytes());
        assert!(self.entries.iter().any(is_gone), "{path} is not there");
        self.entries.retain(|entry| !is_gone(entry));
        self
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.config[key] = value;
        self
    }

    pub(crate) fn variable(&mut self, variable: &str) -> &mut Self {
        self.config["Env"].as_array_mut().unwrap().push(variable.into());
        self
    }

    fn layer(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let attributes = entry.attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            archive.append_pax_extensions(attributes).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(entry.kind);
            header.set_mode(entry.mode);
            header.set_uid(entry.owner);
            header.set_gid(entry.owner);
            let path = Path::new(OsStr::from_bytes(&entry.path));
            if entry.kind == tar::EntryType::Symlink {
                header.set_size(0);
                let target = Path::new(OsStr::from_bytes(&entry.content));
                archive.append_link(&mut header, path, target).unwrap();
                continue;
            }
            if entry.kind == tar::EntryType::Char {
                header.set_device_major(1).unwrap();
                header.set_device_minor(3).unwrap();
            }
            header.set_size(entry.content.len() as u64);
            archive.append_data(&mut header, path, entry.content.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    /// Writes it as a layout.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let blob = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            std::fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            digest.to_string()
        };
        let document = |kind: &str, document: &Value| {
            let text = document.to_string();
            json!({"mediaType": format!("application/vnd.oci.image.{kind}+json"), "size": text.len(),
                   "digest": blob(text.as_bytes())})
        };
        let layer = blob(&self.layer());
        let config = json!({"architecture": self.architecture, "os": self.os, "config": self.config,
                            "rootfs": {"type": "layers", "diff_ids": [layer]}});
        let manifest = json!({"schemaVersion": 2, "config": document("config.v1", &config),
                              "layers": [{"digest": layer}]});
        let index = json!({"schemaVersion": 2, "manifests": [document("manifest.v1", &manifest)]});
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    }

    pub(crate) fn report(&self) -> Report {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path());
        let image = Image::open(folder.path(), &Choice::default()).unwrap();
        inspect(&image, &Limits::default()).unwrap()
    }
}
