//! Whether what the program is told to read is there: `node dist/index.js` starts node and ends at once without it.

use crate::inspect::Finding;
use crate::inspect::finding::Listed;
use crate::inspect::lookup::resolve;
use crate::inspect::start::{words, wrapped};
use crate::inspect::view::View;
use crate::path::shown;

/// Ends of the names of files that are run by another program.
const SOURCES: [&str; 8] = [".js", ".mjs", ".cjs", ".py", ".sh", ".rb", ".jar", ".pl"];
/// Folders that are filled when a seat starts, or later.
const FILLED_LATER: [&str; 6] = ["/proc/", "/sys/", "/dev/", "/run/", "/tmp/", "/workspace/"];

/// Nothing when no argument looks like a file.
pub(in crate::inspect) fn finding(view: &View<'_>) -> Option<Finding> {
    let words: Vec<&str> = words(view).collect();
    // What a small init is to start has a finding of its own.
    let wrapped = wrapped(&words);
    let files: Vec<_> =
        words.iter().skip(1).filter(|&&word| is_file(word) && Some(word) != wrapped).collect();
    if files.is_empty() {
        return None;
    }
    let mut missing = Listed::default();
    for path in &files {
        if resolve(view.tree, view.working_dir(), path.as_bytes()).is_err() {
            missing.add(|| shown(path.as_bytes()));
        }
    }
    if missing.is_empty() {
        return Some(Finding::ok("arguments", "every file that the program is told of is there"));
    }
    let detail = format!("the program is told of files that are not there: {}", missing.few());
    let remedy = "put them into the image, or correct ENTRYPOINT, CMD or WORKDIR";
    Some(Finding::warning("arguments", detail, remedy).paths(&missing))
}

/// Whether an argument can hardly be anything but a file of the image.
fn is_file(word: &str) -> bool {
    let plain = !word.starts_with('-') && !word.contains([' ', '=', ':', '*', '$', ';', '|', '&']);
    let looks =
        word.starts_with('/') || word.starts_with("./") || SOURCES.iter().any(|end| word.ends_with(end));
    plain && looks && !FILLED_LATER.iter().any(|folder| word.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/app/server.js", true)]
    #[case("dist/index.mjs", true)]
    #[case("./run", true)]
    #[case("serve", false)]
    #[case("--config=/etc/x", false)]
    #[case("cd /app && node x.js", false)]
    #[case("/tmp/socket", false)]
    #[case("http://localhost/a.js", false)]
    fn files_look_like_files(#[case] word: &str, #[case] file: bool) {
        assert_eq!(is_file(word), file);
    }
}
