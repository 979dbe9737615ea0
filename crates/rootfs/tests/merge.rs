//! Layers merged: the rules one by one, and any layers against a simple oracle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rootfs::merge::{Impossible, apply};
use rootfs::{Content, Device, Entry, EntryKind, EntryPath, Limits, Meta, NodeKind, Tree};

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: EntryPath::parse(path.as_bytes()).unwrap(), meta: Meta::default(), kind }
}

fn dir(path: &str) -> Entry {
    entry(path, EntryKind::Directory)
}

fn mode(path: &str, mode: u16) -> Entry {
    Entry { meta: Meta { mode, ..Meta::default() }, ..dir(path) }
}

fn file(path: &str, number: u32) -> Entry {
    entry(path, EntryKind::File(Content { layer: 0, entry: number, size: 1, data: None }))
}

fn symlink(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink(target.as_bytes().into()))
}

fn hard_link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::HardLink(EntryPath::parse(target.as_bytes()).unwrap()))
}

fn whiteout(path: &str) -> Entry {
    entry(path, EntryKind::Whiteout)
}

fn opaque(path: &str) -> Entry {
    entry(path, EntryKind::Opaque)
}

fn merged(layers: &[&[Entry]]) -> Tree {
    let mut tree = Tree::new();
    for layer in layers {
        apply(&mut tree, layer, &Limits::default()).unwrap();
    }
    tree
}

fn refused(layers: &[&[Entry]]) -> Impossible {
    let mut tree = Tree::new();
    let (last, first) = layers.split_last().unwrap();
    for layer in first {
        apply(&mut tree, layer, &Limits::default()).unwrap();
    }
    apply(&mut tree, last, &Limits::default()).unwrap_err().why
}

/// Path, and a word on what it is; files by the number of their content.
fn shown(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(|path, _, node| {
        let path = String::from_utf8_lossy(path);
        lines.push(match &node.kind {
            NodeKind::Directory(_) => format!("{path}/"),
            NodeKind::File(content) => format!("{path}={}", content.entry),
            NodeKind::Symlink(target) => format!("{path}->{}", String::from_utf8_lossy(target)),
            other => format!("{path} {other:?}"),
        });
    });
    lines.remove(0);
    lines
}

#[test]
fn a_whiteout_hides_what_is_below_and_not_what_its_layer_brings() {
    let base: &[Entry] = &[dir("a"), file("a/x", 1), file("a/y", 2)];
    assert_eq!(shown(&merged(&[base, &[whiteout("a/x")]])), ["a/", "a/y=2"]);
    for layer in [[file("a/x", 3), whiteout("a/x")], [whiteout("a/x"), file("a/x", 3)]] {
        assert_eq!(shown(&merged(&[base, &layer])), ["a/", "a/x=3", "a/y=2"]);
    }
    assert_eq!(shown(&merged(&[base, &[whiteout("a")]])), Vec::<String>::new());
    // What is not there needs no hiding.
    assert_eq!(shown(&merged(&[base, &[whiteout("b/c"), whiteout("a/z"), whiteout("a/x/q")]])).len(), 3);
}

#[test]
fn an_opaque_folder_has_only_what_its_layer_brings() {
    let base: &[Entry] = &[dir("a"), dir("a/b"), file("a/b/x", 1), file("a/y", 2)];
    for layer in [[opaque("a"), file("a/z", 3)], [file("a/z", 3), opaque("a")]] {
        assert_eq!(shown(&merged(&[base, &layer])), ["a/", "a/z=3"]);
    }
    assert_eq!(shown(&merged(&[base, &[opaque("/"), file("z", 3)]])), ["z=3"]);
}

#[test]
fn folders_are_kept_and_everything_else_is_replaced() {
    let base: &[Entry] = &[mode("a", 0o700), file("a/x", 1)];
    let tree = merged(&[base, &[mode("a", 0o1777)]]);
    assert_eq!(shown(&tree), ["a/", "a/x=1"]);
    assert_eq!(tree.node(tree.child(Tree::ROOT, b"a").unwrap()).meta.mode, 0o1777);
    assert_eq!(shown(&merged(&[base, &[file("a", 2)]])), ["a=2"]);
    assert_eq!(shown(&merged(&[base, &[file("a", 2)], &[dir("a")]])), ["a/"]);
    assert_eq!(shown(&merged(&[base, &[symlink("a", "/x")]])), ["a->/x"]);
    // Within a layer the later entry counts.
    assert_eq!(shown(&merged(&[&[file("x", 1), file("x", 2)]])), ["x=2"]);
    let tree = merged(&[&[mode("/", 0o555)]]);
    assert_eq!(tree.node(Tree::ROOT).meta.mode, 0o555);
}

#[test]
fn a_folder_that_a_layer_leaves_out_is_made() {
    let tree = merged(&[&[file("a/b/x", 1)]]);
    assert_eq!(shown(&tree), ["a/", "a/b/", "a/b/x=1"]);
    assert_eq!(tree.node(tree.child(Tree::ROOT, b"a").unwrap()).meta.mode, 0o755);
}

#[test]
fn hard_links_share_one_inode_within_and_across_layers() {
    let base: &[Entry] = &[file("x", 1), hard_link("y", "x")];
    let tree = merged(&[base, &[hard_link("d/z", "./y"), file("x", 2)]]);
    assert_eq!(shown(&tree), ["d/", "d/z=1", "x=2", "y=1"]);
    let folder = tree.child(Tree::ROOT, b"d").unwrap();
    assert_eq!(tree.child(folder, b"z"), tree.child(Tree::ROOT, b"y"));
    assert_eq!(refused(&[base, &[hard_link("z", "nothing")]]), Impossible::NoTarget);
    assert_eq!(refused(&[base, &[hard_link("z", "x/y")]]), Impossible::NoTarget);
    assert_eq!(refused(&[&[dir("d"), hard_link("z", "d")]]), Impossible::DirectoryTarget);
    assert_eq!(refused(&[&[hard_link("z", "/")]]), Impossible::DirectoryTarget);
    // A link to what the same layer hides is a link to nothing.
    assert_eq!(refused(&[base, &[whiteout("x"), hard_link("z", "x")]]), Impossible::NoTarget);
}

#[test]
fn a_link_to_a_folder_leads_somewhere_inside_and_never_out() {
    let base: &[Entry] = &[dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib")];
    assert_eq!(
        shown(&merged(&[base, &[file("lib/x", 1)]])),
        ["lib->usr/lib", "usr/", "usr/lib/", "usr/lib/x=1"]
    );
    assert_eq!(shown(&merged(&[base, &[file("lib/x", 1)], &[whiteout("lib/x")]])).len(), 3);
    let out: &[Entry] = &[dir("a"), symlink("a/up", "../../../../etc"), symlink("root", "/")];
    let tree = merged(&[out, &[file("a/up/passwd", 1), file("root/y", 2)]]);
    assert_eq!(shown(&tree), ["a/", "a/up->../../../../etc", "etc/", "etc/passwd=1", "root->/", "y=2"]);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    assert_eq!(refused(&[&[symlink("a", "b"), symlink("b", "a"), file("a/x", 1)]]), Impossible::Links);
    assert_eq!(refused(&[&[symlink("a", "a"), file("a/x", 1)]]), Impossible::Links);
    assert_eq!(refused(&[&[file("a", 1), file("a/x", 2)]]), Impossible::NotADirectory);
    assert_eq!(refused(&[&[file("/", 1)]]), Impossible::Root);
    assert_eq!(refused(&[&[whiteout("/")]]), Impossible::Root);
    let mut tree = Tree::new();
    let error = apply(&mut tree, &[file("a", 1), file("a/x", 2)], &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "/a/x: a folder on the way to it is no folder");
}

#[test]
fn a_flood_of_names_ends() {
    let limits = Limits { entries: 100, ..Limits::default() };
    let devices: Vec<Entry> = (0..200)
        .map(|number| entry(&format!("d{number}"), EntryKind::CharDevice(Device { major: 1, minor: number })))
        .collect();
    let error = apply(&mut Tree::new(), &devices, &limits).unwrap_err();
    assert_eq!(error.why, Impossible::TooMany(100));
    let deep = vec![file(&"d/".repeat(1000), 1)];
    assert_eq!(apply(&mut Tree::new(), &deep, &limits).unwrap_err().why, Impossible::TooMany(100));
    // The same name again and again is no way around it.
    let again: Vec<Entry> = (0..200).map(|number| file("x", number)).collect();
    assert_eq!(apply(&mut Tree::new(), &again, &limits).unwrap_err().why, Impossible::TooMany(100));
}

/// The rules once more, as plainly as they can be said: a map of paths, without links.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plain {
    Dir(u16),
    File(u32),
}

fn oracle(layers: &[Vec<Step>]) -> Option<BTreeMap<String, Plain>> {
    let mut paths: BTreeMap<String, Plain> = BTreeMap::new();
    for layer in layers {
        for step in layer {
            match step {
                Step::Whiteout(path) => paths.retain(|there, _| there != path && !is_below(there, path)),
                Step::Opaque(path) => paths.retain(|there, _| !is_below(there, path)),
                _ => {}
            }
        }
        for step in layer {
            let (path, new) = match step {
                Step::Dir(path, mode) => (path, Plain::Dir(*mode)),
                Step::File(path, number) => (path, Plain::File(*number)),
                _ => continue,
            };
            for (at, _) in path.match_indices('/') {
                match paths.get(&path[..at]) {
                    Some(Plain::File(_)) => return None,
                    Some(Plain::Dir(_)) => {}
                    None => drop(paths.insert(path[..at].to_owned(), Plain::Dir(0o755))),
                }
            }
            if !matches!((&new, paths.get(path)), (Plain::Dir(_), Some(Plain::Dir(_)))) {
                paths.retain(|there, _| !is_below(there, path));
            }
            paths.insert(path.clone(), new);
        }
    }
    Some(paths)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[derive(Clone, Debug)]
enum Step {
    Dir(String, u16),
    File(String, u32),
    Whiteout(String),
    Opaque(String),
}

impl Step {
    fn entry(&self) -> Entry {
        match self {
            Self::Dir(path, bits) => mode(path, *bits),
            Self::File(path, number) => file(path, *number),
            Self::Whiteout(path) => whiteout(path),
            Self::Opaque(path) => opaque(path),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let path = || "[abc](/[abc]){0,3}";
    prop_oneof![
        (path(), 0..0o7777u16).prop_map(|(path, mode)| Step::Dir(path, mode)),
        (path(), any::<u32>()).prop_map(|(path, number)| Step::File(path, number)),
        path().prop_map(Step::Whiteout),
        path().prop_map(Step::Opaque),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_layers_become_what_the_rules_say(
        layers in proptest::collection::vec(proptest::collection::vec(step(), 0..8), 1..5),
    ) {
        let mut tree = Tree::new();
        let mut outcome = Ok(());
        for layer in &layers {
            let entries: Vec<Entry> = layer.iter().map(Step::entry).collect();
            outcome = outcome.and_then(|()| apply(&mut tree, &entries, &Limits::default()));
        }
        let Some(expected) = oracle(&layers) else {
            prop_assert_eq!(outcome.unwrap_err().why, Impossible::NotADirectory);
            return Ok(());
        };
        prop_assert!(outcome.is_ok(), "{outcome:?}");
        let mut found = BTreeMap::new();
        tree.walk(|path, _, node| {
            let plain = match &node.kind {
                NodeKind::Directory(_) => Plain::Dir(node.meta.mode),
                NodeKind::File(content) => Plain::File(content.entry),
                other => panic!("{other:?}"),
            };
            found.insert(String::from_utf8_lossy(path).into_owned(), plain);
        });
        found.remove("");
        prop_assert_eq!(found, expected);
    }
}
