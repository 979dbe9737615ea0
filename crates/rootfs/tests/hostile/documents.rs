//! Documents that lead in circles, are too large or name what they should not; layouts with more than files in them.

use std::os::unix::fs::symlink;
use std::path::Path;

use rootfs::build::BuildError;
use rootfs::source::{BlobError, Choice, Image, SourceError, Wrong};
use rootfs::{Digest, Limits};
use rstest::rstest;
use serde_json::{Value, json};

use super::archive::{Archive, header};
use super::image::{Layout, content};

fn wrong(path: &Path) -> Wrong {
    match Image::open(path, &Choice::default()).unwrap_err() {
        SourceError::Wrong { why, .. } => why,
        SourceError::Blob { why, .. } => panic!("{why}"),
    }
}

fn layer() -> Vec<u8> {
    Archive::new().file("x", b"content").end()
}

#[test]
fn an_index_that_names_itself_ends() {
    let layout = Layout::new();
    // No document can hold its own digest, so a circle has a wrong one in it.
    let circle = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "size": 1,
                        "digest": Digest::of(b"itself").to_string()});
    let text = json!({"manifests": [circle]}).to_string();
    std::fs::write(layout.blob_path(Digest::of(b"itself")), text).unwrap();
    layout.index(&[circle]);
    assert!(matches!(wrong(&layout.path()), Wrong::Digest { .. }));
}

#[test]
fn documents_have_a_largest_size_and_depth() {
    let layout = Layout::of(&[layer()]);
    let index = layout.path().join("index.json");
    std::fs::write(&index, format!("{{\"manifests\": []{}}}", " ".repeat(10 << 20))).unwrap();
    assert!(matches!(wrong(&layout.path()), Wrong::Large { .. }));
    for deep in [
        format!("{{\"manifests\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{}1{}", "{\"other\":".repeat(100_000), "}".repeat(100_000)),
        "[".repeat(1 << 20),
    ] {
        std::fs::write(&index, deep).unwrap();
        let error = wrong(&layout.path());
        assert!(matches!(error, Wrong::Json { .. } | Wrong::NoImage), "{error}");
    }
}

#[test]
fn layers_have_a_largest_number() {
    let layout = Layout::new();
    let one = layer();
    layout.index(&[layout.image(&vec![one; 2000])]);
    let error = layout.build(Limits::default()).unwrap_err();
    assert!(matches!(error, BuildError::Layers(1024)), "{error}");
}

#[test]
fn the_configuration_and_the_manifest_must_agree() {
    let layout = Layout::new();
    layout.index(&[layout.packed_image(&[layer(), layer()], &[Digest::of(&layer())])]);
    assert!(matches!(wrong(&layout.path()), Wrong::Layers { named: 1, stored: 2 }));
    // A layer that is intact and not the one that the configuration means.
    layout.index(&[layout.packed_image(&[layer()], &[Digest::of(b"another")])]);
    let error = layout.build(Limits::default()).unwrap_err();
    assert!(matches!(error, BuildError::Damaged { layer: 0, .. }), "{error}");
    assert!(!layout.out().exists());
}

#[rstest]
#[case("../../../../etc/passwd")]
#[case("sha256:../../../../etc/passwd")]
#[case("sha256:")]
#[case("sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
fn digests_are_no_paths(#[case] digest: &str) {
    let layout = Layout::new();
    layout.index(&[json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest})]);
    assert!(matches!(wrong(&layout.path()), Wrong::Kind { .. }));
}

/// A manifest of `docker save` names files by their path.
fn saved(config: &str, layers: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = json!([{"Config": config, "Layers": layers}]);
    std::fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    folder
}

#[rstest]
#[case("../outside.json")]
#[case("blobs/../../outside.json")]
#[case("/etc/../../outside.json")]
#[case("a\0b")]
#[case("")]
fn names_of_blobs_stay_in_the_folder(#[case] name: &str) {
    let folder = saved(name, &[]);
    let error = wrong(folder.path());
    assert!(matches!(error, Wrong::Blob { why: BlobError::Missing | BlobError::NoFile, .. }), "{error}");
}

/// What stands in a layout where the only layer should be.
#[rstest]
#[case::pipe(|path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap())]
#[case::folder(|path: &Path| std::fs::create_dir(path).unwrap())]
#[case::device(|path: &Path| symlink("/dev/zero", path).unwrap())]
#[case::file_of_the_host(|path: &Path| symlink("/etc/passwd", path).unwrap())]
#[case::link_to_nowhere(|path: &Path| symlink("/nothing/there", path).unwrap())]
#[case::link_to_itself(|path: &Path| symlink(path, path).unwrap())]
fn what_is_no_file_of_the_layout_is_not_opened(#[case] make: fn(&Path)) {
    let layout = Layout::of(&[layer()]);
    let blob = layout.blob_path(Digest::of(&layer()));
    std::fs::remove_file(&blob).unwrap();
    make(&blob);
    let error = layout.build(Limits::default()).unwrap_err();
    assert!(matches!(error, BuildError::Read { layer: 0, .. }), "{error}");
    assert!(!layout.out().exists());
}

#[test]
fn a_link_within_the_layout_is_followed() {
    let layout = Layout::of(&[layer()]);
    let blob = layout.blob_path(Digest::of(&layer()));
    std::fs::rename(&blob, layout.path().join("elsewhere")).unwrap();
    symlink("../../elsewhere", &blob).unwrap();
    assert_eq!(content(&layout.built(), "/x"), b"content");
}

#[test]
fn a_pipe_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    let error = Image::open(&pipe, &Choice::default()).unwrap_err();
    assert!(matches!(error, SourceError::Blob { why: BlobError::NoFile, .. }), "{error}");
}

fn in_a_file(archive: Vec<u8>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    std::fs::write(&file, archive).unwrap();
    (folder, file)
}

fn members(manifest: &Value) -> Archive {
    let config = json!({"rootfs": {"diff_ids": [Digest::of(&layer()).to_string()]}}).to_string();
    Archive::new()
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("config.json", config.as_bytes())
}

#[test]
fn of_several_members_with_one_name_the_last_counts() {
    let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
    let archive = members(&manifest).file("layer.tar", b"no layer").file("./layer.tar", &layer()).end();
    let (_folder, file) = in_a_file(archive);
    let image = Image::open(&file, &Choice::default()).unwrap();
    rootfs::build::tree(&image, &Limits::default()).unwrap();
}

#[rstest]
#[case::sparse(Archive::new().pax(&[("GNU.sparse.map", b"0,2"), ("GNU.sparse.size", b"9000000000")]).file("layer.tar", b"ab"))]
#[case::outside(Archive::new().file("../layer.tar", b""))]
#[case::link_outside(Archive::new().symlink("layer.tar", "../../etc/passwd"))]
#[case::hard_link_to_the_host(Archive::new().hard_link("layer.tar", "/etc/passwd"))]
#[case::circle(Archive::new().symlink("layer.tar", "b").symlink("b", "layer.tar"))]
#[case::device(Archive::new().entry(b'3', "layer.tar"))]
fn members_that_are_no_files_are_not_there(#[case] member: Archive) {
    let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
    let (_folder, file) = in_a_file(members(&manifest).bytes(&member.0).end());
    let image = Image::open(&file, &Choice::default()).unwrap();
    let error = rootfs::build::tree(&image, &Limits::default()).unwrap_err();
    assert!(matches!(error, BuildError::Read { layer: 0, .. }), "{error}");
}

#[test]
fn an_archive_whose_last_member_lies_is_refused() {
    let (_folder, file) = in_a_file(Archive::new().block(header(b'0', "manifest.json", 1 << 32)).end());
    assert!(matches!(Image::open(&file, &Choice::default()).unwrap_err(), SourceError::Blob { .. }));
}

/// Long names of members are held in memory: there is an end to them.
#[test]
fn members_have_a_largest_number_of_bytes_of_names() {
    let mut archive = Archive::new();
    let long = format!("{}/", "n".repeat(255)).repeat(15);
    for number in 0..5000 {
        archive = archive.file(&format!("{long}{number}"), b"");
    }
    let (_folder, file) = in_a_file(archive.end());
    let error = Image::open(&file, &Choice::default()).unwrap_err();
    assert!(matches!(error, SourceError::Blob { why: BlobError::TooMany, .. }), "{error}");
}

/// What a message shows of an image cannot steer a terminal, nor fill it.
#[test]
fn messages_hold_no_control_characters_and_end() {
    let evil = "\u{1b}]0;evil\u{7}".repeat(10_000);
    for folder in [saved(&evil, &[]), {
        let folder = saved("x", &[]);
        let items: Vec<_> = (0..1000).map(|_| json!({"Config": "x", "RepoTags": [evil]})).collect();
        std::fs::write(folder.path().join("manifest.json"), json!(items[..50]).to_string()).unwrap();
        folder
    }] {
        let text = wrong(folder.path()).to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 20_000, "{}", text.len());
    }
}
