//! The schema that is checked in, compared with the types.

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::*;

/// Every document, under its name.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct GuestProtocol {
    configure: GuestConfig,
    health: Health,
    exec_request: ExecRequest,
    exec_started: ExecStarted,
    exec_resize: Size,
    exit: Exit,
    logs_query: LogQuery,
    files_query: FilesQuery,
    signal: SignalRequest,
    time: SetTime,
    stop: StopRequest,
    problem: Problem,
}

/// `UPDATE_SCHEMA=1 cargo test -p guest-protocol` writes it anew. Look at the difference: what an agent of generation 1 says or
/// takes stays valid.
#[test]
fn the_schema_is_the_one_checked_in() {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<GuestProtocol>();
    schema.insert("generation".into(), GENERATION.into());
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/guest-protocol.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    // As documents: the order of members depends on what else is built.
    let [kept, made] = [std::fs::read_to_string(path).unwrap(), text]
        .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    assert!(kept == made, "the documents have changed: UPDATE_SCHEMA=1 cargo test -p guest-protocol");
}
