//! Access control lists: programs see another format than the one on disk (`linux/posix_acl_xattr.h`, `fs/ext4/acl.h`).
//!
//! ```text
//!   program  version 2 (4 bytes)  { tag 2, permissions 2, id 4 } …
//!   disk     version 1 (4 bytes)  { tag 2, permissions 2 [, id 4 where the tag has one] } …
//! ```

const PROGRAM_VERSION: [u8; 4] = 2_u32.to_le_bytes();
const DISK_VERSION: [u8; 4] = 1_u32.to_le_bytes();
/// A named user, a named group.
const WITH_ID: [u16; 2] = [0x02, 0x08];
/// The owner, the group, the mask, everybody else.
const WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

/// The list as it is on disk; nothing for one that is malformed.
pub(super) fn to_disk(program: &[u8]) -> Option<Vec<u8>> {
    let (entries, []) = program.strip_prefix(&PROGRAM_VERSION)?.as_chunks::<8>() else { return None };
    let mut disk = DISK_VERSION.to_vec();
    for entry in entries {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if WITH_ID.contains(&tag) {
            disk.extend_from_slice(entry);
        } else if WITHOUT_ID.contains(&tag) {
            disk.extend_from_slice(&entry[..4]);
        } else {
            return None;
        }
    }
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_where_the_tag_has_one() {
        let program = [
            &PROGRAM_VERSION[..],
            &[1, 0, 7, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 232, 3, 0, 0],
            &[0x10, 0, 7, 0, 255, 255, 255, 255],
        ]
        .concat();
        let disk = [&DISK_VERSION[..], &[1, 0, 7, 0], &[2, 0, 4, 0, 232, 3, 0, 0], &[0x10, 0, 7, 0]].concat();
        assert_eq!(to_disk(&program), Some(disk));
        assert_eq!(to_disk(b""), None);
        assert_eq!(to_disk(&program[..10]), None);
        assert_eq!(to_disk(&[2, 0, 0, 0, 9, 0, 7, 0, 0, 0, 0, 0]), None);
    }
}
