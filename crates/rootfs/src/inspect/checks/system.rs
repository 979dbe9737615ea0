//! What programs expect of the system around them.

use crate::NodeKind;
use crate::inspect::Finding;
use crate::inspect::elf::Machine;
use crate::inspect::libraries::has_glibc;
use crate::inspect::lookup::Lost;
use crate::inspect::view::View;
use crate::path::shown;

/// Where distributions keep the certificates that they trust: Debian and Alpine, Fedora, OpenSSL's own, openSUSE.
const CERTIFICATES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];
/// Where the guest agent mounts what no image has.
const MOUNT_POINTS: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];
const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL_TIME: &str = "/etc/localtime";

pub(in crate::inspect) fn all(view: &View<'_>, machine: Option<Machine>) -> Vec<Finding> {
    vec![
        shell(view),
        certificates(view),
        resolver(view, machine),
        time_zones(view),
        temporary(view),
        mount_points(view),
    ]
}

fn shell(view: &View<'_>) -> Finding {
    if view.program(b"/bin/sh").is_err() {
        let detail =
            "there is no /bin/sh: no terminal, no script, and no health check that is a command line";
        return Finding::warning("shell", detail, "install a shell, such as dash or busybox");
    }
    let own = view.user.shell.as_deref().filter(|shell| view.program(shell.as_bytes()).is_err());
    if let Some(own) = own {
        let detail = format!("the user's shell {} does not run", shown(own.as_bytes()));
        return Finding::warning("shell", detail, "install it, or name another one in /etc/passwd");
    }
    let bash = view.program(b"bash").is_ok();
    Finding::ok("shell", if bash { "/bin/sh and bash" } else { "/bin/sh; bash is not there" })
}

fn certificates(view: &View<'_>) -> Finding {
    let is_filled = |path: &&str| {
        view.file(path).is_some_and(
            |found| matches!(&view.node(found.id).kind, NodeKind::File(content) if content.size > 0),
        )
    };
    match CERTIFICATES.iter().find(|path| is_filled(path)) {
        Some(path) => Finding::ok("certificates", *path),
        None => Finding::warning(
            "certificates",
            "there are no CA certificates: programs trust no HTTPS server",
            "install ca-certificates",
        ),
    }
}

/// `/etc/resolv.conf` is the guest agent's to write, as it is a container engine's.
fn resolver(view: &View<'_>, machine: Option<Machine>) -> Finding {
    match view.at("/etc/resolv.conf") {
        Err(Lost::Dangling(target)) => {
            let detail = format!("/etc/resolv.conf is a link to {target}, which is not there");
            return Finding::warning("resolver", detail, "make it a file, or remove it from the image");
        }
        Ok(found) if !matches!(view.node(found.id).kind, NodeKind::File(_)) => {
            let detail = "/etc/resolv.conf is no file, so that none can be written";
            return Finding::warning("resolver", detail, "remove it from the image");
        }
        _ => {}
    }
    if view.folder("/etc").is_none() {
        let detail = "there is no folder /etc; it is made for /etc/resolv.conf and /etc/hosts";
        return Finding::ok("resolver", detail);
    }
    if !has_glibc(view, machine) {
        return Finding::ok("resolver", "/etc/resolv.conf is written when a seat starts");
    }
    if view.file("/etc/nsswitch.conf").is_none() {
        let detail = "there is no /etc/nsswitch.conf: older C libraries ask DNS before /etc/hosts";
        return Finding::warning("resolver", detail, "add one with the line \"hosts: files dns\"");
    }
    Finding::ok("resolver", "/etc/resolv.conf is written when a seat starts; /etc/nsswitch.conf is there")
}

fn time_zones(view: &View<'_>) -> Finding {
    let zones = view.folder(ZONES).is_some();
    let asked = view.environment.value("TZ").map(|zone| zone.trim_start_matches(':'));
    // Other values are rules of their own, or UTC.
    let named = asked.filter(|zone| zone.contains('/') && !zone.starts_with('/'));
    if named.is_some_and(|zone| view.file(format!("{ZONES}/{zone}")).is_none()) {
        let detail = format!("TZ names a time zone that {ZONES} does not have: it is taken for UTC");
        return Finding::warning("time_zones", detail, "install tzdata");
    }
    if zones {
        return Finding::ok("time_zones", format!("{ZONES} is there"));
    }
    let detail = if view.file(LOCAL_TIME).is_some() {
        format!("only that of {LOCAL_TIME}")
    } else {
        "none: every time is UTC".to_owned()
    };
    Finding::warning("time_zones", detail, "install tzdata when learners are to see their own time")
}

fn temporary(view: &View<'_>) -> Finding {
    let Some(found) = view.folder("/tmp") else {
        return Finding::ok("temporary_folder", "/tmp is made when a seat starts");
    };
    let mode = view.node(found.id).meta.mode;
    if mode & 0o1777 == 0o1777 {
        return Finding::ok("temporary_folder", "/tmp, mode 1777");
    }
    let detail = format!("/tmp has mode {mode:04o} instead of 1777");
    Finding::warning("temporary_folder", detail, "chmod 1777 /tmp in the image")
}

fn mount_points(view: &View<'_>) -> Finding {
    let is_lost = |path: &&str| !matches!(view.at(path), Err(Lost::Missing)) && view.folder(path).is_none();
    let wrong: Vec<_> = MOUNT_POINTS.into_iter().filter(is_lost).collect();
    if !wrong.is_empty() {
        let detail = format!("no folders, and no room for any: {}", wrong.join(", "));
        return Finding::will_not_boot("mount_points", detail, "make them folders in the image");
    }
    let missing: Vec<_> = MOUNT_POINTS.into_iter().filter(|path| view.folder(path).is_none()).collect();
    if missing.is_empty() {
        return Finding::ok("mount_points", format!("{} are there", MOUNT_POINTS.join(", ")));
    }
    let detail = format!("not in the image, and made over it when it boots: {}", missing.join(", "));
    Finding::ok("mount_points", detail)
}
