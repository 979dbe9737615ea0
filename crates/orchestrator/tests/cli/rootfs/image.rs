//! Archives as `docker save` writes them.

use std::fs::File;
use std::path::Path;

use rootfs::Digest;
use serde_json::json;

/// A small image called `demo:1`.
pub(crate) fn archive(path: &Path) {
    save(path, &[("bin/start", b"#!/bin/nothing\n".to_vec(), 0o755), ("etc/hosts", Vec::new(), 0o644)]);
}

/// One of 32 MiB that no packer makes smaller: as long to convert as a test needs.
pub(crate) fn large_archive(path: &Path) {
    let mut state = 1_u64;
    let bytes = (0..(32 << 20) / 8).flat_map(|_| {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    save(path, &[("data", bytes.collect(), 0o644)]);
}

/// The same of so many folders without anything in them.
pub(crate) fn names_archive(path: &Path, folders: usize) {
    let names: Vec<_> = (0..folders).map(|number| format!("{number}/")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Vec::new(), 0o755)).collect();
    save(path, &files);
}

fn save(path: &Path, files: &[(&str, Vec<u8>, u32)]) {
    let mut layer = tar::Builder::new(Vec::new());
    for (name, content, mode) in files {
        append(&mut layer, name, content, *mode);
    }
    let layer = layer.into_inner().unwrap();
    let architecture = rootfs::source::host_architecture();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/bin/start"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": name, "RepoTags": ["demo:1"], "Layers": ["layer.tar"]}]).to_string();
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    append(&mut archive, &name, &config, 0o644);
    append(&mut archive, "layer.tar", &layer, 0o644);
    append(&mut archive, "manifest.json", manifest.as_bytes(), 0o644);
    archive.finish().unwrap();
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, name: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content).unwrap();
}

/// What a folder has, the store apart.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "state");
    names.sort();
    names
}
