//! How the report on an image is printed.

use rootfs::inspect::{Finding, Level, LinkKind, Report, User, Verdict};

use crate::exit::Exit;
use crate::ui::{Output, Tone, Ui};

/// How wide lines for people are, in characters.
const COLUMNS: usize = 100;
/// How long a word of the image may be here; json has all of it.
const MOST_WORD: usize = 300;
/// How wide the names of facts and of checks are: `program architecture` is the longest.
const NAMES: usize = 20;
/// How wide levels are: `will not boot`.
const LEVELS: usize = 13;

/// Prints what is known of an image. An image that does not boot is a failure of the command; warnings are not.
///
/// # Errors
/// When standard output is closed or full.
pub(super) fn show(report: &Report, ui: Ui) -> anyhow::Result<Exit> {
    match ui.output {
        Output::Json => ui.json(&serde_json::to_value(report)?)?,
        Output::Tsv => rows(report).into_iter().try_for_each(|row| ui.row(row))?,
        Output::Table => {
            lines(report, &|tone, text| ui.paint(tone, text)).iter().try_for_each(|line| ui.line(line))?;
        }
    }
    Ok(exit(report))
}

/// How the command ends.
fn exit(report: &Report) -> Exit {
    if report.verdict == Verdict::WillNotBoot { Exit::Failure } else { Exit::Ok }
}

/// The columns for shell scripts: level, check, detail, remedy; the worst first.
fn rows(report: &Report) -> Vec<[String; 4]> {
    let row = |finding: &Finding| {
        let remedy = finding.remedy.clone().unwrap_or_default();
        [finding.level.as_str().into(), finding.name.into(), finding.detail.clone(), remedy]
    };
    worst_first(report).into_iter().map(row).collect()
}

fn worst_first(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// The lines for people.
fn lines(report: &Report, paint: &dyn Fn(Tone, &str) -> String) -> Vec<String> {
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let (fatal, warnings) = (count(Level::WillNotBoot), count(Level::Warning));
    let mut lines = vec![paint(tone(worst(report)), &verdict(report, fatal, warnings)), String::new()];
    for (name, value) in facts(report) {
        let folded = fold(&value, COLUMNS - NAMES - 2);
        for (number, text) in folded.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            lines.push(format!("{}  {text}", paint(Tone::Quiet, &format!("{name:<NAMES$}"))));
        }
    }
    lines.push(String::new());
    for finding in worst_first(report) {
        lines.extend(finding_lines(finding, paint));
    }
    lines.push(format!("{} checks, will not boot: {fatal}, warnings: {warnings}", report.findings.len()));
    lines
}

fn verdict(report: &Report, fatal: usize, warnings: usize) -> String {
    match report.verdict {
        Verdict::Boots => "boots".into(),
        Verdict::BootsWithWarnings => format!("boots with {}", counted(warnings, "warning")),
        Verdict::WillNotBoot => format!("will not boot, for {}", counted(fatal, "reason")),
    }
}

fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn worst(report: &Report) -> Level {
    match report.verdict {
        Verdict::Boots => Level::Ok,
        Verdict::BootsWithWarnings => Level::Warning,
        Verdict::WillNotBoot => Level::WillNotBoot,
    }
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::Warning => Tone::Warning,
        Level::WillNotBoot => Tone::Bad,
    }
}

fn finding_lines(finding: &Finding, paint: &dyn Fn(Tone, &str) -> String) -> Vec<String> {
    let indent = LEVELS + NAMES + 4;
    let words = |text: &str| text.replace('_', " ");
    let level = format!("{:<LEVELS$}", words(finding.level.as_str()));
    let mut lines = Vec::new();
    for (number, text) in fold(&clean(&finding.detail), COLUMNS - indent).iter().enumerate() {
        lines.push(if number == 0 {
            format!("{}  {:<NAMES$}  {text}", paint(tone(finding.level), &level), words(finding.name))
        } else {
            format!("{:indent$}{text}", "")
        });
    }
    if let Some(remedy) = &finding.remedy {
        for text in fold(&format!("what to do: {}", clean(remedy)), COLUMNS - indent) {
            lines.push(format!("{:indent$}{}", "", paint(Tone::Quiet, &text)));
        }
    }
    lines
}

/// What is known beside the findings.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let platform = format!("{}/{}", or(&report.os, "?"), or(&report.architecture, "?"));
    let distribution = report.distribution.as_ref().map_or_else(
        || "unknown".into(),
        |found| {
            let name = if found.name.is_empty() { &found.id } else { &found.name };
            clean(or(name, "unknown"))
        },
    );
    let starts = report.starts.entrypoint.iter().chain(&report.starts.command);
    let chain = report.starts.chain.iter().map(|link| format!("{} ({})", clean(&link.path), kind(link.kind)));
    let layers = counted(report.layers, "layer");
    let content = format!("{} in {} inodes, from {layers}", size(report.content_bytes), report.inodes);
    let file = report.file_bytes.map_or_else(|| "none".into(), size);
    vec![
        ("image", report.image.to_string()),
        ("platform", clean(&platform)),
        ("distribution", distribution),
        ("starts", none(starts.map(|word| quoted(word)).collect::<Vec<_>>().join(" "))),
        ("files", none(chain.collect::<Vec<_>>().join(" → "))),
        ("user", user(&report.user)),
        ("working directory", clean(&report.working_dir)),
        ("ports", listed(&report.ports)),
        ("health check", health(report)),
        ("volumes", listed(&report.volumes)),
        ("stop signal", clean(&report.stop_signal)),
        ("environment", listed(&report.environment)),
        ("content", content),
        ("ext4 file", file),
    ]
}

fn kind(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Script => "script",
        LinkKind::Static => "static",
        LinkKind::Dynamic => "dynamic",
        LinkKind::Loader => "loader",
    }
}

fn user(user: &User) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "?".into(), |number| number.to_string());
    let name = user.name.as_deref().unwrap_or(or(&user.asked, "root"));
    let mut text = format!("{} ({}:{})", clean(name), number(user.uid), number(user.gid));
    if !user.groups.is_empty() {
        let groups: Vec<_> = user.groups.iter().map(u32::to_string).collect();
        text += &format!(", groups {}", groups.join(" "));
    }
    text += &format!(", home {}", clean(&user.home));
    if let Some(shell) = &user.shell {
        text += &format!(", shell {}", clean(shell));
    }
    text
}

fn health(report: &Report) -> String {
    let test = report.health_check.as_ref().map_or(&[][..], |check| check.test.as_slice());
    match test {
        [] => "none".into(),
        [kind, words @ ..] if kind.starts_with("CMD") => {
            none(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
        }
        words => listed(words),
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

fn listed(words: &[String]) -> String {
    none(words.iter().map(|word| clean(word)).collect::<Vec<_>>().join(", "))
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+=:@%,".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return clean(word);
    }
    format!("'{}'", clean(&word.replace('\'', r"'\''")))
}

/// What an image says must not steer a terminal, nor fill it.
fn clean(text: &str) -> String {
    let mut clean = String::new();
    for (number, character) in text.chars().enumerate() {
        if number == MOST_WORD {
            clean.push('…');
            break;
        }
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// Folds a text at its spaces, and where there is none for too long, in the middle of a word.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut at = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if at > 0 && at + 1 + rest.len() > width {
            lines.push(String::new());
            at = 0;
        }
        if at > 0 {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
            }
            at += 1;
        }
        while rest.len() > width {
            let more = rest.split_off(width);
            if let Some(line) = lines.last_mut() {
                line.extend(rest);
            }
            lines.push(String::new());
            rest = more;
        }
        at += rest.len();
        if let Some(line) = lines.last_mut() {
            line.extend(rest);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
