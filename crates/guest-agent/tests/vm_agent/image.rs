//! Images from nothing, and their file systems.

use std::fs;
use std::path::{Path, PathBuf};

use guest_protocol::Run;
use rootfs::Quiet;
use rootfs::build::{Options, build};
use rootfs::source::{Choice, Image as Source, host_architecture};
use serde_json::json;

/// An image of one layer.
pub(crate) struct Image {
    layer: tar::Builder<Vec<u8>>,
    pub(crate) run: Run,
}

impl Image {
    /// One with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { layer: tar::Builder::new(Vec::new()), run: Run::default() }
    }

    /// One with a busybox as `/bin/sh` and all its other names that tests use, and with users.
    pub(crate) fn busybox() -> Self {
        let busybox = vm_testbed::Kernel::find().unwrap().busybox().to_owned();
        let mut image = Self::empty();
        image.file("bin/busybox", 0o755, (0, 0), &fs::read(busybox).unwrap());
        for name in [
            "sh", "cat", "echo", "id", "ls", "mount", "sleep", "stat", "df", "hostname", "ip", "touch", "ps",
            "wc", "head", "tr", "sync", "date", "kill", "env", "mkdir", "rm", "stty", "grep", "dd", "sed",
        ] {
            image.link(&format!("bin/{name}"), "busybox");
        }
        image.file(
            "etc/passwd",
            0o644,
            (0, 0),
            b"root:x:0:0:root:/root:/bin/sh\nlearner:x:1000:1000::/home/learner:/bin/sh\n",
        );
        image.file("etc/group", 0o644, (0, 0), b"root:x:0:\nlearner:x:1000:\nvideo:x:44:learner\n");
        image.folder("root", 0o700, (0, 0));
        image.folder("home/learner", 0o755, (1000, 1000));
        image.run.env = vec!["PATH=/bin".into()];
        image
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, owner: (u64, u64), content: &[u8]) -> &mut Self {
        let mut header = header(mode, owner, tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        self.layer.append_data(&mut header, path, content).unwrap();
        self
    }

    pub(crate) fn folder(&mut self, path: &str, mode: u32, owner: (u64, u64)) -> &mut Self {
        let mut header = header(mode, owner, tar::EntryType::Directory);
        self.layer.append_data(&mut header, path, &b""[..]).unwrap();
        self
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let mut header = header(0o777, (0, 0), tar::EntryType::Symlink);
        self.layer.append_link(&mut header, path, target).unwrap();
        self
    }

    /// What runs, by the image's shell.
    pub(crate) fn runs(mut self, script: &str) -> Self {
        self.run.entrypoint = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self
    }

    /// Makes its file system.
    pub(crate) fn build(self, file: &Path, options: &Options) -> Run {
        let layer = self.layer.into_inner().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        let run = &self.run;
        let config = json!({"architecture": host_architecture(), "os": "linux",
            "config": {"Entrypoint": run.entrypoint, "Cmd": run.cmd, "Env": run.env, "User": run.user,
                       "WorkingDir": run.working_dir, "StopSignal": run.stop_signal},
            "rootfs": {"type": "layers", "diff_ids": [rootfs::Digest::of(&layer).to_string()]}});
        let manifest = json!([{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]);
        let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
        for (name, content) in [
            ("config.json", config.to_string().into_bytes()),
            ("layer.tar", layer),
            ("manifest.json", manifest.to_string().into_bytes()),
        ] {
            let mut header = header(0o644, (0, 0), tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, &content[..]).unwrap();
        }
        tar.finish().unwrap();
        build(&Source::open(&archive, &Choice::default()).unwrap(), file, options, &Quiet).unwrap();
        self.run
    }
}

fn header(mode: u32, (uid, gid): (u64, u64), kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_size(0);
    header
}

/// An empty file system in a file that is larger than it.
pub(crate) fn empty_disk(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    Image::empty().build(&file, &Options::default());
    fs::File::options().write(true).open(&file).unwrap().set_len(256 << 20).unwrap();
    file
}
