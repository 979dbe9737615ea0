//! Names that lead out, and names that are none.

use rootfs::Limits;
use rstest::rstest;

use super::archive::{Archive, header};
use super::image::{Layout, content};
use super::{beside, refused};

fn first() -> Archive {
    Archive::new().dir("first")
}

/// The archive, what the error says, and the entry that it names.
#[rstest]
#[case::parent(first().file("../x", b"!"), "'..'", "../x")]
#[case::absolute_parent(first().file("/../x", b"!"), "'..'", "/../x")]
#[case::parent_in_the_middle(first().file("a/../../x", b"!"), "'..'", "a/../../x")]
#[case::parent_at_the_end(first().dir("a/.."), "'..'", "a/..")]
#[case::long_name(first().file(&"n".repeat(256), b"!"), "255 bytes", "nnnn")]
#[case::long_path(first().file(&"d/".repeat(2049), b""), "4096 bytes", "d/d/d")]
#[case::nul(first().pax(&[("path", b"a\0b")]).file("x", b""), "NUL", "a\\\\u{0}b")]
#[case::nul_in_a_link(first().pax(&[("linkpath", b"a\0b")]).entry(b'2', "x"), "NUL", "x")]
#[case::empty_file(first().file("", b"!"), "the root of an image is a folder", "/")]
#[case::root_as_a_link(first().symlink("/", "/etc"), "the root of an image is a folder", "/")]
#[case::empty_link(first().entry(b'2', "x"), "link to nothing", "x")]
#[case::long_link(first().symlink("x", &"a/".repeat(2048)), "4095 bytes", "x")]
#[case::whiteout_outside(first().file("../.wh.x", b""), "'..'", "../.wh.x")]
#[case::whiteout_of_the_parent(first().file("a/.wh...", b""), "hides a name that cannot be", "a/.wh...")]
#[case::whiteout_of_the_folder(first().file("a/.wh..", b""), "hides a name that cannot be", "a/.wh..")]
#[case::whiteout_of_nothing(first().file(".wh.", b""), "hides a name that cannot be", ".wh.")]
#[case::opaque_outside(first().file("../.wh..wh..opq", b""), "'..'", "../.wh..wh..opq")]
#[case::hard_link_outside(first().hard_link("x", "../../etc/passwd"), "hard link to what is no path", "x")]
#[case::hard_link_to_the_host(first().hard_link("x", "/etc/passwd"), "link to something that is not there", "x")]
#[case::hard_link_to_a_folder(first().hard_link("x", "first"), "hard link to a folder", "x")]
#[case::hard_link_to_the_root(first().hard_link("x", "/"), "hard link to a folder", "x")]
#[case::hard_link_to_itself(first().hard_link("x", "x"), "link to something that is not there", "x")]
#[case::hard_link_to_what_comes_later(
    first().hard_link("x", "later").file("later", b""), "link to something that is not there", "x"
)]
#[case::links_in_a_circle(
    first().symlink("a", "b").symlink("b", "a").file("a/x", b""), "40 symbolic links", "/a/x"
)]
#[case::link_to_itself(first().symlink("a", "a").file("a/x", b""), "40 symbolic links", "/a/x")]
#[case::link_through_itself(first().symlink("a", "a/b").file("a/x", b""), "40 symbolic links", "/a/x")]
#[case::below_a_file(first().file("a", b"").file("a/x", b""), "is no folder", "/a/x")]
#[case::kind(first().block(header(b'Z', "x", 0)), "its kind 'Z'", "x")]
fn is_refused(#[case] archive: Archive, #[case] why: &str, #[case] entry: &str) {
    for below in [0, 1, 3] {
        let mut layers = vec![Archive::new().dir("below").end(); below];
        layers.push(archive.clone().end());
        let text = refused(&layers, Limits::default());
        assert!(text.contains(why) && text.contains(entry), "{text}");
    }
}

#[test]
fn what_is_absolute_begins_at_the_root_of_the_image() {
    let layout = Layout::of(&[Archive::new().file("/etc/passwd", b"image").file("//x", b"y").end()]);
    let fs = layout.built();
    assert_eq!(content(&fs, "/etc/passwd"), b"image");
    assert_eq!(content(&fs, "/x"), b"y");
    assert_eq!(beside(&layout), ["layout", "rootfs.ext4"]);
}

/// A folder that a lower layer makes a link to a place of the host, absolute and by as many parents as it takes.
#[rstest]
#[case::absolute(|host: &str| host.to_owned())]
#[case::parents(|host: &str| format!("{}{host}", "../".repeat(40)))]
fn a_parent_that_becomes_a_link_leads_nowhere_but_into_the_image(#[case] target: fn(&str) -> String) {
    let sentinel = tempfile::tempdir().unwrap();
    std::fs::write(sentinel.path().join("passwd"), "host").unwrap();
    let host = sentinel.path().to_str().unwrap();
    let layers = [
        Archive::new().dir("a").file("a/passwd", b"old").end(),
        Archive::new().symlink("a", &target(host)).end(),
        Archive::new()
            .file("a/passwd", b"new")
            .file("a/more", b"more")
            .hard_link("linked", "a/passwd")
            .file("a/.wh.hidden", b"")
            .end(),
    ];
    let layout = Layout::of(&layers);
    let fs = layout.built();
    assert_eq!(content(&fs, &format!("{host}/passwd")), b"new");
    assert_eq!(content(&fs, "/linked"), b"new", "the image's file, and not the host's");
    let names: Vec<_> =
        std::fs::read_dir(sentinel.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["passwd"]);
    assert_eq!(std::fs::read(sentinel.path().join("passwd")).unwrap(), b"host");
    assert_eq!(beside(&layout), ["layout", "rootfs.ext4"]);
}

#[test]
fn whiteouts_through_a_link_hide_only_what_is_in_the_image() {
    let sentinel = tempfile::tempdir().unwrap();
    std::fs::write(sentinel.path().join("x"), "host").unwrap();
    let host = sentinel.path().to_str().unwrap();
    let layers = [
        Archive::new().symlink("a", host).file(&format!("{host}/x"), b"image").file("keep", b"k").end(),
        Archive::new().file("a/.wh.x", b"").file("a/.wh..wh..opq", b"").end(),
    ];
    let fs = Layout::of(&layers).built();
    assert!(fs.resolve(&format!("{host}/x")).is_err());
    assert_eq!(content(&fs, "/keep"), b"k");
    assert_eq!(std::fs::read(sentinel.path().join("x")).unwrap(), b"host");
}
