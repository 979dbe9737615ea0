//! The file that checks append their verdicts to when they find out that they cannot run:
//! `verdict TAB provider TAB check TAB reason`.

/// The checks that libtest counted as passed although they could not run, with provider and reason.
pub(crate) fn skipped(report: &str) -> Vec<String> {
    let lines = report.lines().filter_map(|line| line.strip_prefix("skipped\t"));
    let mut found: Vec<_> = lines
        .map(|line| {
            let mut fields = line.splitn(3, '\t').map(|field| if field.is_empty() { "?" } else { field });
            let mut next = || fields.next().unwrap_or("?");
            format!("{} {}: {}", next(), next(), next())
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_skipped_checks_are_listed() {
        let report = "passed\tdocker\tcreate\t\nskipped\tdocker\tisolation\tno nft here\nfailed\tsim\tlist\tskipped\n\
                      skipped\tsim\tlimits\t\n";
        assert_eq!(skipped(report), ["docker isolation: no nft here", "sim limits: ?"]);
    }
}
