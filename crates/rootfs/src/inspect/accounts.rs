//! Users and groups of an image (`passwd(5)`, `group(5)`).

use super::report::User;

/// What the image says of its users.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Accounts<'a> {
    /// `/etc/passwd`
    pub(super) passwd: Option<&'a [u8]>,
    /// `/etc/group`
    pub(super) group: Option<&'a [u8]>,
}

/// Why it is not known who runs the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoUser {
    #[error("the image has no user {0:?}")]
    User(String),
    #[error("the image has no group {0:?}")]
    Group(String),
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

impl<'a> Accounts<'a> {
    /// Who it is that the image's configuration names, as a container engine finds it out: `name`, `uid`, and either
    /// with a group after a colon. Numbers need not be known to the image.
    pub(super) fn user(&self, asked: &str) -> (User, Option<NoUser>) {
        let (who, group) = match asked.split_once(':') {
            Some((who, group)) => (who, Some(group).filter(|group| !group.is_empty())),
            None => (asked, None),
        };
        let who = if who.is_empty() { "0" } else { who };
        let known = self.users().find(|user| user.name == who).or_else(|| {
            let uid: u32 = who.parse().ok()?;
            self.users().find(|user| user.uid == uid)
        });
        let mut user = User { asked: asked.to_owned(), home: "/".into(), ..User::default() };
        let mut wrong = None;
        match known {
            Some(known) => {
                user.name = Some(known.name.to_owned());
                (user.uid, user.gid) = (Some(known.uid), Some(known.gid));
                if !known.home.is_empty() {
                    user.home = known.home.to_owned();
                }
                user.shell = Some(known.shell.to_owned()).filter(|shell| !shell.is_empty());
            }
            None => match who.parse() {
                Ok(uid) => (user.uid, user.gid) = (Some(uid), Some(0)),
                Err(_) => wrong = Some(NoUser::User(who.to_owned())),
            },
        }
        if let Some(group) = group {
            match self.gid(group) {
                Some(gid) => user.gid = Some(gid),
                None => wrong = wrong.or_else(|| Some(NoUser::Group(group.to_owned()))),
            }
        } else if let Some(name) = &user.name {
            user.groups = self.groups_of(name);
        }
        (user, wrong)
    }

    fn users(&self) -> impl Iterator<Item = Passwd<'a>> + use<'a> {
        lines(self.passwd).filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            let home = fields.nth(1).unwrap_or_default();
            Some(Passwd { name, uid, gid, home, shell: fields.next().unwrap_or_default() })
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&'a str, u32, &'a str)> + use<'a> {
        lines(self.group).filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or_default()))
        })
    }

    fn gid(&self, group: &str) -> Option<u32> {
        let known = self.groups().find(|&(name, ..)| name == group).map(|(_, gid, _)| gid);
        known.or_else(|| group.parse().ok())
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let of = |(_, gid, members): (&str, u32, &str)| {
            members.split(',').any(|member| member == user).then_some(gid)
        };
        let mut groups: Vec<_> = self.groups().filter_map(of).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// Lines of a text; what is not UTF-8 names nobody.
fn lines(text: Option<&[u8]>) -> impl Iterator<Item = &str> {
    let lines = text.unwrap_or_default().split(|&byte| byte == b'\n');
    lines.filter_map(|line| std::str::from_utf8(line).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n\nbad line\nlearner:x:1000:1001:L,,,:/home/learner:/bin/bash\n\
                            1234:x:77:78::/:\n\xff\xfe:x:5:5::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nlearner:x:1001:\ndocker:x:999:other,learner\nwheel:x:10:learner\nx\n";

    #[rstest]
    #[case("", Some(0), Some(0), "/root", &[])]
    #[case("learner", Some(1000), Some(1001), "/home/learner", &[10, 999])]
    #[case("1000", Some(1000), Some(1001), "/home/learner", &[10, 999])]
    #[case("learner:docker", Some(1000), Some(999), "/home/learner", &[])]
    #[case("learner:5", Some(1000), Some(5), "/home/learner", &[])]
    #[case(":docker", Some(0), Some(999), "/root", &[])]
    #[case("4711", Some(4711), Some(0), "/", &[])]
    #[case("4711:4712", Some(4711), Some(4712), "/", &[])]
    #[case("1234", Some(77), Some(78), "/", &[])]
    fn users_are_found(
        #[case] asked: &str,
        #[case] uid: Option<u32>,
        #[case] gid: Option<u32>,
        #[case] home: &str,
        #[case] groups: &[u32],
    ) {
        let (user, wrong) = Accounts { passwd: Some(PASSWD), group: Some(GROUP) }.user(asked);
        assert_eq!(
            (user.uid, user.gid, user.home.as_str(), user.groups.as_slice()),
            (uid, gid, home, groups)
        );
        assert_eq!(wrong, None);
    }

    #[rstest]
    #[case("nobody", NoUser::User("nobody".into()))]
    #[case("-1", NoUser::User("-1".into()))]
    #[case("learner:staff", NoUser::Group("staff".into()))]
    fn who_is_not_there_is_named(#[case] asked: &str, #[case] expected: NoUser) {
        let (_, wrong) = Accounts { passwd: Some(PASSWD), group: Some(GROUP) }.user(asked);
        assert_eq!(wrong, Some(expected));
    }

    #[test]
    fn an_image_without_users_has_numbers() {
        let (user, wrong) = Accounts::default().user("7:8");
        assert_eq!((user.uid, user.gid, wrong), (Some(7), Some(8), None));
        assert_eq!(Accounts::default().user("learner").1, Some(NoUser::User("learner".into())));
    }

    proptest! {
        #[test]
        fn any_text_is_read(passwd in ".*", group in proptest::collection::vec(any::<u8>(), 0..200), asked in ".*") {
            let _ = Accounts { passwd: Some(passwd.as_bytes()), group: Some(&group) }.user(&asked);
        }
    }
}
