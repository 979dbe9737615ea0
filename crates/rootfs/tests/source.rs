//! Images as folders and archives hold them, and as they should not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod common;

use std::io::Read as _;
use std::path::Path;

use common::{Layout, layer};
use rootfs::build::{BuildError, Options, build, tree};
use rootfs::source::{Choice, Image, SourceError, Wrong, host_architecture};
use rootfs::{Digest, Limits, NodeKind, Quiet, Tree};
use rstest::rstest;
use serde_json::{Value, json};

fn open(path: &Path) -> Result<Image, SourceError> {
    Image::open(path, &Choice::default())
}

fn wrong(path: &Path, choice: &Choice) -> Wrong {
    match Image::open(path, choice).unwrap_err() {
        SourceError::Wrong { why, .. } => why,
        SourceError::Blob { why, .. } => panic!("{why}"),
    }
}

fn names(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    tree.walk(|path, _, node| {
        if matches!(node.kind, NodeKind::File(_)) {
            names.push(String::from_utf8_lossy(path).into_owned());
        }
    });
    names
}

#[test]
fn a_layout_is_the_same_in_a_folder_and_in_a_file() {
    let layout = Layout::new();
    let image = layout.image(&[layer("a", b"one"), layer("b/c", b"two"), layer("b/.wh.c", b"")]);
    layout.index(&[image]);
    let archive = layout.archive();
    let images = [open(layout.path()).unwrap(), open(&archive).unwrap()];
    std::fs::remove_file(archive).unwrap();
    assert_eq!(images[0].id, images[1].id);
    for image in &images {
        assert_eq!(image.config.config.entrypoint, ["/init"]);
        assert_eq!(names(&tree(image, &Limits::default()).unwrap()), ["a"]);
    }
}

#[test]
fn an_index_of_indexes_leads_to_the_platform() {
    let layout = Layout::new();
    let ours = layout.image(&[layer("ours", b"")]);
    let theirs = layout.image(&[layer("theirs", b"")]);
    let of = |descriptor: &Value, architecture: &str| {
        let mut descriptor = descriptor.clone();
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let inner = json!({"manifests": [of(&theirs, "riscv64"), of(&ours, host_architecture())]});
    layout.index(&[layout.document("index.v1", &inner)]);
    let image = open(layout.path()).unwrap();
    assert_eq!(names(&tree(&image, &Limits::default()).unwrap()), ["ours"]);
    let choice = Choice { architecture: Some("riscv64".into()), ..Choice::default() };
    let image = Image::open(layout.path(), &choice).unwrap();
    assert_eq!(names(&tree(&image, &Limits::default()).unwrap()), ["theirs"]);
    let choice = Choice { architecture: Some("s390x".into()), ..Choice::default() };
    let why = wrong(layout.path(), &choice).to_string();
    assert!(why.contains("for linux/s390x") && why.contains("linux/riscv64"), "{why}");
}

#[test]
fn of_several_images_one_must_be_chosen() {
    let layout = Layout::new();
    let named = |layers: &[Vec<u8>], name: &str| {
        let mut image = layout.image(layers);
        image["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        image
    };
    layout.index(&[named(&[layer("one", b"")], "a:1"), named(&[layer("two", b"")], "a:2")]);
    assert!(
        matches!(wrong(layout.path(), &Choice::default()), Wrong::Several { there } if there == "a:1, a:2")
    );
    let choice = |name: &str| Choice { name: Some(name.into()), ..Choice::default() };
    let image = Image::open(layout.path(), &choice("a:2")).unwrap();
    assert_eq!(names(&tree(&image, &Limits::default()).unwrap()), ["two"]);
    assert!(matches!(wrong(layout.path(), &choice("b")), Wrong::NoSuch { .. }));
    // One that is written as it was asked for goes before one that ends like it.
    layout.index(&[named(&[layer("one", b"")], "x/a:1"), named(&[layer("two", b"")], "a:1")]);
    let image = Image::open(layout.path(), &choice("a:1")).unwrap();
    assert_eq!(names(&tree(&image, &Limits::default()).unwrap()), ["two"]);
    assert_eq!(Image::names(layout.path()).unwrap(), ["x/a:1", "a:1"]);
    layout.index(&[]);
    assert!(matches!(wrong(layout.path(), &Choice::default()), Wrong::NoImage));
}

#[test]
fn an_index_that_leads_in_a_circle_ends() {
    let layout = Layout::new();
    let mut inner = layout.image(&[]);
    for _ in 0..10 {
        inner = layout.document("index.v1", &json!({"manifests": [inner]}));
    }
    layout.index(&[inner]);
    assert!(matches!(wrong(layout.path(), &Choice::default()), Wrong::Nested));
}

#[test]
fn what_is_damaged_is_told_by_its_digest() {
    let layout = Layout::new();
    let bytes = layer("a", b"content");
    let manifest = layout.image(std::slice::from_ref(&bytes));
    layout.index(std::slice::from_ref(&manifest));
    let blob = layout.blob_path(Digest::of(&bytes));
    let build_of = || {
        let image = open(layout.path()).unwrap();
        let file = layout.path().join("out");
        drop(std::fs::remove_file(&file));
        build(&image, &file, &Options::default(), &Quiet).unwrap_err()
    };
    // The content is changed, and everything still has its size.
    let mut damaged = bytes.clone();
    damaged[512] ^= 1;
    std::fs::write(&blob, &damaged).unwrap();
    assert!(matches!(build_of(), BuildError::Damaged { layer: 0, .. }));
    std::fs::write(&blob, &bytes[..515]).unwrap();
    assert!(matches!(build_of(), BuildError::Layer(_)));
    // Only what fills the last block is missing.
    std::fs::write(&blob, &bytes[..700]).unwrap();
    assert!(matches!(build_of(), BuildError::Damaged { layer: 0, .. }));
    // Something behind the archive, which no unpacker would look at.
    std::fs::write(&blob, [&bytes[..], b"more"].concat()).unwrap();
    assert!(matches!(build_of(), BuildError::Damaged { layer: 0, .. } | BuildError::Layer(_)));
    std::fs::remove_file(&blob).unwrap();
    assert!(matches!(build_of(), BuildError::Read { layer: 0, .. }));
    // The manifest itself.
    let digest: Digest = manifest["digest"].as_str().unwrap().parse().unwrap();
    let text = std::fs::read(layout.blob_path(digest)).unwrap();
    std::fs::write(layout.blob_path(digest), [&text[..], b" "].concat()).unwrap();
    assert!(matches!(wrong(layout.path(), &Choice::default()), Wrong::Digest { .. }));
}

/// Documents that name what they should not, or nothing.
#[rstest]
#[case(json!([{"Config": "../../../etc/passwd", "Layers": []}]))]
#[case(json!([{"Config": "config.json", "Layers": ["a", "b"]}]))]
#[case(json!([{"Config": "loop", "Layers": []}]))]
#[case(json!([]))]
#[case(json!({}))]
#[case(json!("nonsense"))]
fn what_docker_never_wrote_is_refused(#[case] manifest: Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&file).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    add("manifest.json", manifest.to_string().as_bytes());
    add("config.json", br#"{"rootfs": {"diff_ids": []}}"#);
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    archive.append_link(&mut link, "loop", "loop").unwrap();
    archive.finish().unwrap();
    drop(wrong(&file, &Choice::default()));
}

#[test]
fn a_layer_that_is_a_link_to_another_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let bytes = layer("a", b"x");
    let mut archive = tar::Builder::new(std::fs::File::create(&file).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    let digest = Digest::of(&bytes).to_string();
    add("config.json", json!({"rootfs": {"diff_ids": [digest, digest]}}).to_string().as_bytes());
    add("one/layer.tar", &bytes);
    let manifest = json!([{"Config": "config.json", "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    add("manifest.json", manifest.to_string().as_bytes());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    archive.append_link(&mut link, "two/layer.tar", "../one/layer.tar").unwrap();
    archive.finish().unwrap();
    let image = open(&file).unwrap();
    let mut bytes = Vec::new();
    image.layer(1).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), digest);
    assert_eq!(names(&tree(&image, &Limits::default()).unwrap()), ["a"]);
}

#[test]
fn what_is_no_image_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(wrong(folder.path(), &Choice::default()), Wrong::NoImage));
    assert!(matches!(open(&folder.path().join("nothing")).unwrap_err(), SourceError::Blob { .. }));
    let file = folder.path().join("text");
    std::fs::write(&file, "this is a text and no archive at all").unwrap();
    assert!(matches!(open(&file).unwrap_err(), SourceError::Blob { .. }));
    std::fs::write(&file, "").unwrap();
    assert!(matches!(wrong(&file, &Choice::default()), Wrong::NoImage));
}

#[test]
fn an_empty_image_is_a_file_system_without_files() {
    let layout = Layout::new();
    layout.index(&[layout.image(&[])]);
    let image = open(layout.path()).unwrap();
    let file = layout.path().join("out");
    let built = build(&image, &file, &Options::default(), &Quiet).unwrap();
    assert_eq!((built.content, built.inodes), (0, 1));
    // A file that is there is not overwritten.
    let again = build(&image, &file, &Options::default(), &Quiet);
    assert!(matches!(again.unwrap_err(), BuildError::Write { .. }));
}
