//! Who runs a program: what an image's `USER` means, as Docker reads it.
//!
//! ```text
//!   ""           root                                name          of /etc/passwd, else trouble
//!   1000         of /etc/passwd, else 1000:0         name:group    the group of /etc/group, else trouble
//!   1000:1000    both as they are                    :group        root with this group
//! ```
//!
//! Whoever has no group in the text is in all groups that name him; whoever has one is in that alone.

use std::fs;
use std::path::Path;

/// The most of a file of users that is read.
const MOST: u64 = 4 << 20;

/// Who runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Finds out who is meant, in the files of the seat.
pub(crate) fn resolve(text: &str) -> Result<User, String> {
    resolve_in(text, &read(Path::new("/etc/passwd")), &read(Path::new("/etc/group")))
}

/// An image without such a file has no names, which is no trouble by itself.
fn read(path: &Path) -> String {
    let fits = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MOST);
    let bytes = if fits { fs::read(path).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resolve_in(text: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (name, of_group) = match text.split_once(':') {
        Some((name, of_group)) => (name, Some(of_group).filter(|text| !text.is_empty())),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = name.parse::<u32>().ok();
    let mut accounts = passwd.lines().filter_map(Account::read);
    let account = accounts.find(|account| account.name == name || number == Some(account.uid));
    let (uid, mut gid, home) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid, account.home),
        (None, Some(number)) => (number, 0, ""),
        (None, None) => {
            return Err(format!(
                "the user {name:?} is not in the image's /etc/passwd: name one that is, or a number"
            ));
        }
    };
    let mut groups = Vec::new();
    if let Some(of_group) = of_group {
        let number = of_group.parse::<u32>().ok();
        let found = group
            .lines()
            .filter_map(Group::read)
            .find(|group| group.name == of_group || number == Some(group.gid));
        gid = match (found, number) {
            (Some(found), _) => found.gid,
            (None, Some(number)) => number,
            (None, None) => {
                return Err(format!(
                    "the group {of_group:?} is not in the image's /etc/group: name one that is, or a number"
                ));
            }
        };
    } else if let Some(account) = &account {
        let of_user = group
            .lines()
            .filter_map(Group::read)
            .filter(|group| group.members.split(',').any(|member| member == account.name));
        groups = of_user.map(|group| group.gid).collect();
        groups.sort_unstable();
        groups.dedup();
    }
    // As Docker does since 20.10.18: without it, a file that its group may not read could be read.
    groups.retain(|other| *other != gid);
    groups.insert(0, gid);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(User { uid, gid, groups, home })
}

/// A line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default().trim() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nlearner:x:1000:1000:,,,:/home/learner:/bin/bash\n\
                          bare:x:7:8:::\n9:x:11:12::/nine:\n";
    const GROUP: &str =
        "root:x:0:\nlearner:x:1000:\nvideo:x:44:other,learner\nstaff:x:50:learner\nstaff2:x:50:learner\n";

    fn user(text: &str) -> User {
        resolve_in(text, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn names_numbers_and_groups() {
        let who = |text| {
            let User { uid, gid, groups, home } = user(text);
            (uid, gid, groups, home)
        };
        assert_eq!(who(""), (0, 0, vec![0], "/root".into()));
        assert_eq!(who("learner"), (1000, 1000, vec![1000, 44, 50], "/home/learner".into()));
        assert_eq!(who("1000"), who("learner"));
        assert_eq!(who("learner:staff"), (1000, 50, vec![50], "/home/learner".into()));
        assert_eq!(who("learner:7"), (1000, 7, vec![7], "/home/learner".into()));
        assert_eq!(who("1234"), (1234, 0, vec![0], "/".into()));
        assert_eq!(who("1234:99"), (1234, 99, vec![99], "/".into()));
        assert_eq!(who("bare"), (7, 8, vec![8], "/".into()));
        assert_eq!(who(":44"), (0, 44, vec![44], "/root".into()));
        assert_eq!(who("9"), (11, 12, vec![12], "/nine".into()), "a name of digits is a name first");
    }

    #[test]
    fn who_is_not_there_is_said() {
        let trouble = resolve_in("nobody", PASSWD, GROUP).unwrap_err();
        assert!(trouble.contains("\"nobody\"") && trouble.contains("/etc/passwd"), "{trouble}");
        let trouble = resolve_in("learner:nogroup", PASSWD, GROUP).unwrap_err();
        assert!(trouble.contains("\"nogroup\"") && trouble.contains("/etc/group"), "{trouble}");
        assert!(resolve_in("root", "", "").is_err());
        assert_eq!(resolve_in("", "", "").unwrap().home, "/");
    }
}
