//! Whether the image is for this kind of machine.

use crate::inspect::Finding;
use crate::inspect::view::View;
use crate::path::shown;

pub(in crate::inspect) fn all(view: &View<'_>) -> Vec<Finding> {
    vec![system(view), architecture(view)]
}

fn system(view: &View<'_>) -> Finding {
    match view.image.os.as_str() {
        "linux" => Finding::ok("os", "linux"),
        "" => Finding::warning("os", "the image does not say; linux is assumed", "build it anew"),
        other => Finding::will_not_boot(
            "os",
            format!("the image is for {}, and the guest's kernel is Linux", shown(other.as_bytes())),
            "use an image for Linux",
        ),
    }
}

fn architecture(view: &View<'_>) -> Finding {
    let (wanted, host) = (view.image.architecture.as_str(), view.host);
    if wanted == host {
        return Finding::ok("architecture", format!("{wanted}, as this host"));
    }
    if wanted.is_empty() {
        let detail = format!("the image does not say; {host} is assumed, as this host");
        return Finding::warning("architecture", detail, format!("build it anew for linux/{host}"));
    }
    Finding::will_not_boot(
        "architecture",
        format!("the image is for {}, and this host is {host}", shown(wanted.as_bytes())),
        format!("build or pull it for linux/{host}"),
    )
}
