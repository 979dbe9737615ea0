//! What was found out about a host: level, check, detail, and what to do.

use seats::{Finding, Level};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::ui::{Output, Tone, Ui};

/// Prints them, and says how the command ends. The members of `more`, an object, come along in JSON.
pub(super) fn show(findings: &[Finding], more: Value, ui: Ui) -> anyhow::Result<Exit> {
    match ui.output {
        Output::Table => print(findings, ui)?,
        Output::Json => {
            let checks: Vec<_> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "name": finding.name,
                        "level": finding.level.as_str(),
                        "detail": finding.detail,
                        "remedy": finding.remedy,
                    })
                })
                .collect();
            let mut document = json!({ "ok": healthy(findings), "checks": checks });
            if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
                document.extend(more);
            }
            ui.json(&document)?;
        }
        Output::Tsv => findings.iter().try_for_each(|finding| {
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            ui.row([finding.level.as_str(), finding.name, finding.detail.as_str(), remedy])
        })?,
    }
    Ok(if healthy(findings) { Exit::Ok } else { Exit::Failure })
}

fn healthy(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.level == Level::Error)
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::Warning => Tone::Warning,
        Level::Error => Tone::Bad,
    }
}

fn print(findings: &[Finding], ui: Ui) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    for finding in findings {
        let level = ui.paint(tone(finding.level), &format!("{:<7}", finding.level.as_str()));
        ui.line(&format!("{level}  {:<width$}  {}", finding.name, finding.detail))?;
        if let Some(remedy) = &finding.remedy {
            let remedy = ui.paint(Tone::Quiet, &format!("what to do: {remedy}"));
            ui.line(&format!("{:width$}{remedy}", "", width = width + 11))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    ui.line(&format!("{} checks, errors: {errors}, warnings: {warnings}", findings.len()))
}
