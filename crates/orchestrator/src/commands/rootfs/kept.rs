//! `orchestrator rootfs list`, `verify` and `gc`

use std::time::{Duration, SystemTime};

use rootfs::ImageFile;
use rootfs::store::{Check, Entry, EntryName, Keep, Policy, State, Store, StoreError};
use serde_json::json;

use super::amount::shown;
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Tone, Ui};

pub(super) fn list(store: &Store, ui: Ui) -> anyhow::Result<Exit> {
    let entries = store.list().map_err(|why| failed(&why))?;
    match ui.output {
        Output::Json => ui.json(&json!({ "entries": entries.iter().map(described).collect::<Vec<_>>() }))?,
        Output::Tsv => entries.iter().try_for_each(|entry| {
            let image = whole(entry);
            ui.row([
                entry.name.as_str(),
                state(entry).0,
                &image.map(|image| image.names.join(",")).unwrap_or_default(),
                &image.map(platform).unwrap_or_default(),
                &image.map(|image| image.size.to_string()).unwrap_or_default(),
                &entry.allocated.to_string(),
                &seconds(entry.used).to_string(),
                &needed_by(entry),
            ])
        })?,
        Output::Table if entries.is_empty() => ui.note("nothing is kept"),
        Output::Table => {
            let mut table =
                ui.table(&["ENTRY", "STATE", "NAMES", "PLATFORM", "SIZE", "ON DISK", "USED", "NEEDED BY"]);
            for entry in &entries {
                let image = whole(entry);
                table.add_row([
                    short(&entry.name),
                    state(entry).0.to_owned(),
                    image.map(|image| image.names.join(", ")).unwrap_or_default(),
                    image.map(platform).unwrap_or_default(),
                    image.map(|image| shown(image.size)).unwrap_or_default(),
                    shown(entry.allocated),
                    ago(entry.used),
                    needed_by(entry),
                ]);
            }
            ui.line(&table.to_string())?;
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn verify(store: &Store, wanted: &[String], remove: bool, ui: Ui) -> anyhow::Result<Exit> {
    let entries = chosen(store, wanted)?;
    let (mut rows, mut is_whole) = (Vec::new(), true);
    for entry in entries {
        let Some(verdict) = store.verify(&entry.name).map_err(|why| failed(&why))? else { continue };
        is_whole &= verdict.is_whole();
        let removed =
            remove && !verdict.is_whole() && store.remove(&entry.name).map_err(|why| failed(&why))?;
        let result = match (verdict.is_whole(), removed) {
            (true, _) => "whole",
            (false, true) => "removed",
            (false, false) => "damaged",
        };
        match ui.output {
            Output::Json => rows.push(json!({
                "entry": entry.name.as_str(),
                "result": result,
                "digest": check(&verdict.digest),
                "file_system": check(&verdict.file_system),
            })),
            Output::Tsv => {
                let (digest, file_system) = (check(&verdict.digest), check(&verdict.file_system));
                ui.row([entry.name.as_str(), result, &digest, &file_system])?;
            }
            Output::Table => {
                let tone = if verdict.is_whole() { Tone::Good } else { Tone::Bad };
                ui.line(&format!("{}  {}", ui.paint(tone, &format!("{result:<7}")), short(&entry.name)))?;
                for (name, found) in [("digest", &verdict.digest), ("e2fsck", &verdict.file_system)] {
                    if *found != Check::Fine {
                        ui.line(&format!("         {name}: {}", check(found)))?;
                    }
                }
            }
        }
    }
    if ui.output == Output::Json {
        ui.json(&json!({ "ok": is_whole, "entries": rows }))?;
    }
    Ok(if is_whole { Exit::Ok } else { Exit::Failure })
}

pub(super) fn gc(store: &Store, policy: &Policy, ui: Ui) -> anyhow::Result<Exit> {
    let collected = store.collect(policy).map_err(|why| failed(&why))?;
    let removed = if policy.dry_run { "would be removed" } else { "removed" };
    let rows = collected
        .removed
        .iter()
        .map(|entry| (entry, removed))
        .chain(collected.kept.iter().map(|(entry, keep)| (entry, kept(*keep))));
    match ui.output {
        Output::Json => {
            let rows: Vec<_> = rows
                .map(|(entry, outcome)| {
                    json!({ "entry": entry.name.as_str(), "outcome": outcome, "allocated": entry.allocated })
                })
                .collect();
            ui.json(&json!({ "freed": collected.freed, "dry_run": policy.dry_run, "entries": rows }))?;
        }
        Output::Tsv => {
            for (entry, outcome) in rows {
                ui.row([entry.name.as_str(), outcome, &entry.allocated.to_string()])?;
            }
        }
        Output::Table => {
            for (entry, outcome) in rows {
                ui.line(&format!("{}  {:>10}  {outcome}", short(&entry.name), shown(entry.allocated)))?;
            }
            let (freed, kept) = (shown(collected.freed), collected.kept.len());
            let would = if policy.dry_run { "would be free again" } else { "are free again" };
            ui.line(&format!("{freed} {would}; {kept} kept"))?;
        }
    }
    Ok(Exit::Ok)
}

/// The entries that are meant by the beginnings of their names.
fn chosen(store: &Store, wanted: &[String]) -> Result<Vec<Entry>, Failure> {
    let entries = store.list().map_err(|why| failed(&why))?;
    let is_meant = |entry: &Entry, text: &str| {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        !digits.is_empty() && entry.name.as_str().starts_with(digits)
    };
    for text in wanted {
        if !entries.iter().any(|entry| is_meant(entry, text)) {
            return Err(Failure::new(
                Exit::NotFound,
                format!("the store has no entry that begins with {text:?}"),
            )
            .remedy("'orchestrator rootfs list' shows what there is"));
        }
    }
    let mut entries = entries;
    entries.retain(|entry| wanted.is_empty() || wanted.iter().any(|text| is_meant(entry, text)));
    Ok(entries)
}

fn described(entry: &Entry) -> serde_json::Value {
    let (state, why) = state(entry);
    json!({
        "entry": entry.name.as_str(),
        "state": state,
        "reason": why,
        "image": whole(entry),
        "allocated": entry.allocated,
        "made": seconds(entry.made),
        "used": seconds(entry.used),
        "in_use": entry.is_in_use,
        "pins": entry.pins.iter().map(rootfs::store::Owner::as_str).collect::<Vec<_>>(),
    })
}

fn whole(entry: &Entry) -> Option<&ImageFile> {
    match &entry.state {
        State::Whole(image) => Some(image),
        State::Newer(_) | State::Damaged(_) => None,
    }
}

fn state(entry: &Entry) -> (&'static str, Option<&str>) {
    match &entry.state {
        State::Whole(_) => ("whole", None),
        State::Newer(why) => ("newer", Some(why)),
        State::Damaged(why) => ("damaged", Some(why)),
    }
}

fn platform(image: &ImageFile) -> String {
    format!("{}/{}", image.os, image.architecture)
}

/// As much of a name as people compare.
fn short(name: &EntryName) -> String {
    name.as_str().chars().take(12).collect()
}

fn needed_by(entry: &Entry) -> String {
    let running = entry.is_in_use.then(|| "a process".to_owned());
    let pins = entry.pins.iter().map(ToString::to_string);
    running.into_iter().chain(pins).collect::<Vec<_>>().join(", ")
}

fn check(check: &Check) -> String {
    match check {
        Check::Fine => "fine".into(),
        Check::Wrong(why) => why.clone(),
        Check::Skipped(why) => format!("not checked: {why}"),
    }
}

fn kept(keep: Keep) -> &'static str {
    match keep {
        Keep::InUse => "kept: a process uses it",
        Keep::Pinned => "kept: somebody needs it",
        Keep::Wanted => "kept",
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn ago(time: SystemTime) -> String {
    let passed = SystemTime::now().duration_since(time).unwrap_or_default();
    format!("{} ago", indicatif::HumanDuration(Duration::from_secs(passed.as_secs())))
}

fn failed(why: &StoreError) -> Failure {
    Failure::new(Exit::Failure, format!("the store cannot be used: {why}"))
}
