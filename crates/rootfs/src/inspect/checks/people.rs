//! Who runs the image, and where.

use crate::inspect::Finding;
use crate::inspect::accounts::{Accounts, NoUser};
use crate::inspect::lookup::{Wish, barred, may};
use crate::inspect::view::View;
use crate::path::shown;

/// Where a seat's own disk is mounted.
const WORKSPACE: &str = "/workspace";

pub(in crate::inspect) fn all(
    view: &View<'_>,
    wrong: Option<&NoUser>,
    accounts: Accounts<'_>,
) -> Vec<Finding> {
    let mut findings = vec![user(view, wrong), known(accounts)];
    findings.extend([working_dir(view), home(view), workspace(view)]);
    findings
}

fn user(view: &View<'_>, wrong: Option<&NoUser>) -> Finding {
    if let Some(why) = wrong {
        let remedy = "add it to /etc/passwd or /etc/group of the image, or give USER as a number";
        return Finding::will_not_boot("user", why.to_string(), remedy);
    }
    let user = view.user;
    let name =
        user.name.as_deref().map_or_else(|| "a user without a name".into(), |name| shown(name.as_bytes()));
    let number = |number: Option<u32>| number.map_or_else(|| "?".into(), |number| number.to_string());
    let who = format!("{name} ({}:{})", number(user.uid), number(user.gid));
    match (user.uid, &user.name) {
        (Some(0), _) => Finding::warning(
            "user",
            format!("{who}: learners are root in their seats"),
            "set USER to an ordinary user",
        ),
        (_, None) => Finding::warning(
            "user",
            format!("{who}: shells, ssh and git want a name"),
            "add the user to /etc/passwd of the image",
        ),
        _ => Finding::ok("user", who),
    }
}

fn known(accounts: Accounts<'_>) -> Finding {
    let missing: Vec<_> = [("/etc/passwd", accounts.passwd), ("/etc/group", accounts.group)]
        .into_iter()
        .filter(|(_, text)| text.is_none())
        .map(|(path, _)| path)
        .collect();
    if missing.is_empty() {
        return Finding::ok("accounts", "/etc/passwd and /etc/group are there");
    }
    let detail = format!("missing: {}; programs find no names of users", missing.join(" and "));
    Finding::warning("accounts", detail, "add them to the image")
}

fn working_dir(view: &View<'_>) -> Finding {
    let name = "working_directory";
    let path = shown(view.working_dir());
    let Some(found) = view.folder(view.working_dir()) else {
        return if view.at(view.working_dir()).is_ok() {
            let detail = format!("{path} is no folder");
            Finding::will_not_boot(name, detail, "set WORKDIR to a folder")
        } else {
            let detail = format!("{path} is not in the image; it is made empty, and belongs to root");
            Finding::warning(name, detail, "make it in the image, and give it to the user")
        };
    };
    let enters = may(view.user, view.node(found.id), Wish::Execute);
    if !enters || barred(view.tree, view.user, &found).is_some() {
        let detail = format!("the user may not enter {path}");
        return Finding::will_not_boot(
            name,
            detail,
            "chmod or chown it in the image, or set another WORKDIR",
        );
    }
    Finding::ok(name, format!("{path} is there"))
}

fn home(view: &View<'_>) -> Finding {
    let home = view.environment.value("HOME").unwrap_or(&view.user.home);
    let path = shown(home.as_bytes());
    match view.folder(home) {
        None => {
            let detail = format!("{path} is not in the image");
            Finding::warning("home", detail, "make it in the image, and give it to the user")
        }
        Some(found) if !may(view.user, view.node(found.id), Wish::Write) => {
            let detail = format!("the user may not write to {path}, where programs keep their settings");
            Finding::warning("home", detail, "give the user a home folder of its own")
        }
        Some(_) => Finding::ok("home", format!("{path} is there")),
    }
}

fn workspace(view: &View<'_>) -> Finding {
    match view.folder(WORKSPACE) {
        None => {
            let detail = format!("{WORKSPACE}, where a learner's files are kept, is not in the image");
            let remedy = format!("make {WORKSPACE} in the image, and give it to the user");
            Finding::warning("workspace", detail, remedy)
        }
        Some(found) if !may(view.user, view.node(found.id), Wish::Write) => {
            let detail = format!("the user may not write to {WORKSPACE}, where a learner's files are kept");
            Finding::warning("workspace", detail, format!("chown {WORKSPACE} to the user in the image"))
        }
        Some(_) => Finding::ok("workspace", format!("{WORKSPACE} is there, and the user may write to it")),
    }
}
