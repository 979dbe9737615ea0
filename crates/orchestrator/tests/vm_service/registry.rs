//! A real registry (Debian's `docker-registry`) in a test's own namespace, filled over its API.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rootfs::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{said, until};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub(crate) struct Registry {
    folder: TempDir,
    child: Child,
    address: String,
}

impl Registry {
    pub(crate) const PROGRAM: &str = "docker-registry";

    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", vm_testbed::free_port().unwrap());
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(Self::PROGRAM);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let registry = Self { folder, child, address };
        until("a registry that listens", || TcpStream::connect(&registry.address).is_ok());
        registry
    }

    /// Puts the only image of an archive of `docker save` there (OCI distribution specification 1.1, "Push"); how it is called then.
    pub(crate) fn push(&self, name: &str, archive: &Path) -> String {
        let unpacked = tempfile::tempdir_in(self.folder.path()).unwrap();
        tar::Archive::new(File::open(archive).unwrap()).unpack(unpacked.path()).unwrap();
        let manifest = fs::read(unpacked.path().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let blob = |path: &Value, kind: &str| {
            let path = unpacked.path().join(path.as_str().unwrap());
            let bytes = fs::read(&path).unwrap();
            let digest = Digest::of(&bytes).to_string();
            self.blob(name, &path, &digest);
            json!({"mediaType": kind, "size": bytes.len(), "digest": digest})
        };
        let layers = manifest[0]["Layers"].as_array().unwrap().iter();
        let layers: Vec<_> =
            layers.map(|layer| blob(layer, "application/vnd.docker.image.rootfs.diff.tar")).collect();
        let config = blob(&manifest[0]["Config"], "application/vnd.docker.container.image.v1+json");
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let path = unpacked.path().join("pushed.json");
        fs::write(&path, document.to_string()).unwrap();
        put(&format!("http://{}/v2/{name}/manifests/1", self.address), MANIFEST, &path);
        format!("{}/{name}:1", self.address)
    }

    fn blob(&self, name: &str, path: &Path, digest: &str) {
        let uploads = format!("http://{}/v2/{name}/blobs/uploads/", self.address);
        let head = said("curl", &["-s", "-S", "-f", "-D", "-", "-o", "/dev/null", "-X", "POST", &uploads]);
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut places =
            lines.filter(|(name, _)| name.eq_ignore_ascii_case("location")).map(|(_, place)| place);
        let place = places.next().unwrap_or_else(|| panic!("no place for a blob: {head}"));
        put(&format!("{place}&digest={digest}"), "application/octet-stream", path);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn put(url: &str, kind: &str, path: &Path) {
    let (kind, body) = (format!("content-type: {kind}"), format!("@{}", path.display()));
    said("curl", &["-s", "-S", "-f", "-X", "PUT", "-H", &kind, "--data-binary", &body, url]);
}
