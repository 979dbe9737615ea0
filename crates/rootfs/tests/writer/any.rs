//! Any trees, by every writer, and any size that is said to be enough.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rootfs::Quiet;
use rootfs::build::{BuildError, Options, build};
use rootfs::ext4::{PlanError, Size};
use rootfs::writer::WriterKind;

use crate::cases::{check, same};
use crate::item::{Item, Kind, folder, image, item, layer};

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => b'a'..=b'e', 1 => 0x80..=0xff_u8];
    prop_oneof![
        4 => prop::collection::vec(byte.clone(), 1..4),
        1 => prop::collection::vec(byte, 200..=255),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Folder),
        4 => prop::collection::vec(any::<u8>(), 0..9000).prop_map(Kind::File),
        1 => (prop::collection::vec(1..=255_u8, 1..200)).prop_map(Kind::Link),
        1 => Just(Kind::Fifo),
        1 => (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::Char(major, minor)),
        1 => (1..50_u64, 0..40_u64, prop::collection::vec(1..=255_u8, 1..5000)).prop_map(|(size, offset, data)| {
            let offset = offset * 1000;
            Kind::Sparse(offset + data.len() as u64 + size * 997, offset, data)
        }),
    ]
}

/// Items in folders that come before them, nothing twice.
fn items() -> impl Strategy<Value = Vec<Item>> {
    let one = (
        any::<prop::sample::Index>(),
        name(),
        kind(),
        0..0o10_000_u32,
        any::<(u32, u32)>(),
        (-2_000_000_000..10_000_000_000_i64, 0..1_000_000_000_u32),
        prop::option::weighted(0.3, prop::collection::vec(any::<u8>(), 0..300)),
        prop::option::weighted(0.15, name()),
    );
    prop::collection::vec(one, 0..60).prop_map(|entries| {
        let mut folders = vec![Vec::new()];
        let mut there = BTreeSet::from([Vec::new(), b"lost+found".to_vec()]);
        let mut items = vec![folder("")];
        for (place, name, kind, mode, owner, mtime, xattr, twin) in entries {
            let below = |name: &[u8]| {
                let folder: &Vec<u8> = place.get(&folders);
                if folder.is_empty() { name.to_vec() } else { [&folder[..], b"/", name].concat() }
            };
            let (path, twin) = (below(&name), twin.map(|twin| below(&twin)));
            if path.len() > 3000 || !there.insert(path.clone()) {
                continue;
            }
            let plain = item(&path, kind.clone());
            let mut xattrs = Vec::new();
            if let (Some(value), Kind::File(_) | Kind::Folder) = (xattr, &kind) {
                xattrs.push(("user.any".to_owned(), value));
            }
            let mode = if matches!(kind, Kind::Link(_)) { 0o777 } else { mode };
            items.push(Item { mode, owner, mtime, xattrs, ..plain });
            match kind {
                Kind::Folder => folders.push(path),
                // The reference has no links with several names.
                Kind::Link(_) => {}
                _ => {
                    if let Some(twin) = twin.filter(|twin| there.insert(twin.clone())) {
                        items.push(item(twin, Kind::HardLink(path)));
                    }
                }
            }
        }
        items
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_writer_holds_any_tree(items in items()) {
        check(&items, WriterKind::Mkext4);
        if rustix::process::geteuid().is_root() || !items.iter().any(|item| matches!(item.kind, Kind::Char(..))) {
            check(&items, WriterKind::Mke2fs);
        }
    }

    #[test]
    fn what_is_said_to_be_enough_is_enough(
        files in prop::collection::vec(0..2_000_000_usize, 9..40),
        names in 0..3000_usize,
        asked in 0..(18_u64 << 20),
    ) {
        let place = tempfile::tempdir().unwrap();
        let mut items = vec![folder("n")];
        items.extend(files.iter().enumerate().map(|(n, &len)| item(format!("{n}"), Kind::File(vec![1; len]))));
        items.extend((0..names).map(|n| item(format!("n/{n:0>60}"), Kind::File(vec![]))));
        let image = image(place.path(), &layer(&items));
        let sized = |bytes| Options { size: Size::Exactly(bytes), ..Options::default() };
        let path = place.path().join("x.ext4");
        match build(&image, &path, &sized(asked), &Quiet) {
            Ok(built) => {
                prop_assert!(built.size >= asked && built.size < asked + 4096);
                same(&items, &path);
            }
            Err(BuildError::Plan(PlanError::TooSmall(small))) => {
                prop_assert!(!path.exists());
                prop_assert!(small.least > asked);
                build(&image, &path, &sized(small.least), &Quiet).unwrap();
                same(&items, &path);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
