//! Extended headers (POSIX.1-2017, pax, "pax Header Block"), and what GNU tar and Go put into them.
//!
//! Values are bytes: a file capability is binary, with zeros and line ends in it, so a record is cut by its length and
//! never by its line end.

use std::collections::BTreeMap;

use super::number::{decimal, time};
use super::tar::Malformed;
use crate::{Extent, Time};

/// How xattrs are written (star's, GNU tar's and Go's way).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What extended headers say of one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// What GNU tar says of a sparse file.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Vec<Extent>,
    offset: Option<u64>,
}

impl Pax {
    /// Takes in the records of a header; later ones replace earlier ones, and an empty value takes one back.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), Malformed> {
        while !records.is_empty() {
            let (record, rest) = cut(records).ok_or(Malformed::Pax)?;
            let at = record.iter().position(|&byte| byte == b'=').ok_or(Malformed::Pax)?;
            self.take(&record[..at], &record[at + 1..]).ok_or(Malformed::Pax)?;
            records = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let number = |value| if value == b"" { Some(None) } else { decimal(value).map(Some) };
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value)?),
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(decimal(value)?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(decimal(value)?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take()?;
                self.sparse.map.push(Extent { offset, len: decimal(value)? });
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|&byte| byte == b',').map(decimal).collect();
                let (pairs, []) = numbers.as_deref()?.as_chunks::<2>() else { return None };
                self.sparse.map = pairs.iter().map(|&[offset, len]| Extent { offset, len }).collect();
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Some(())
    }
}

/// `30 mtime=1350244992.023960108\n`: the length counts itself, the space and the line end.
fn cut(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let len = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let len = (body + 1..).find(|len| body + len.to_string().len() == *len).unwrap();
        [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_are_bytes() {
        let capability = [1, 0, 0, 2, b'\n', 4, 0, 0, b'=', 0];
        let mut pax = Pax::default();
        let records = [
            record("SCHILY.xattr.security.capability", &capability),
            record("path", b"caf\xe9/x"),
            record("mtime", b"1.5"),
            record("uid", b"4000000000"),
            record("comment", b"ignored"),
        ];
        pax.read(&records.concat()).unwrap();
        assert_eq!(pax.xattrs[&b"security.capability"[..]], capability);
        assert_eq!(pax.path.as_deref(), Some(&b"caf\xe9/x"[..]));
        assert_eq!(pax.uid, Some(4_000_000_000));
        pax.read(&record("uid", b"")).unwrap();
        assert_eq!(pax.uid, None);
    }

    #[test]
    fn nonsense_is_refused() {
        for records in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"6 a=b\nx",
            b"0 a=b\n",
            b"5 ab\n",
            b"18446744073709551615 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"9 uid=x1\n",
            b"26 GNU.sparse.map=1,2,3\n",
            b"28 GNU.sparse.numbytes=512\n",
        ] {
            assert!(Pax::default().read(records).is_err(), "{:?}", String::from_utf8_lossy(records));
        }
    }
}
