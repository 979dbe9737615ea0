//! The document that is checked in, and whether it tells the truth.

use std::path::PathBuf;

use serde_json::Value;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../openapi/orchestrator.json")
}

fn document() -> Value {
    serde_json::from_str(&api::openapi()).unwrap()
}

#[test]
fn the_checked_in_document_is_current() {
    let current = api::openapi();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(golden(), &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(golden()).unwrap_or_default();
    assert!(
        checked_in == current,
        "openapi/orchestrator.json has drifted; run the tests with UPDATE_OPENAPI=1 and look at the difference"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                references.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| walk(value, references));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, references)),
            _ => {}
        }
    }
    let document = document();
    let mut references = Vec::new();
    walk(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_is_complete() {
    let document = document();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            for member in ["operationId", "summary", "description"] {
                assert!(operation[member].as_str().is_some_and(|text| !text.is_empty()), "{name}: {member}");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["headers"]["x-request-id"].is_object(), "{name} {status}");
                let body = &response["content"];
                let problem = body["application/problem+json"]["schema"]["$ref"].as_str();
                match status.as_str() {
                    "204" => assert!(body.is_null(), "{name} {status}"),
                    "200" | "201" | "202" => {
                        assert!(problem.is_none() && body.is_object(), "{name} {status}");
                    }
                    _ if path == "/readyz" && status == "503" => {}
                    _ => assert_eq!(problem, Some("#/components/schemas/Problem"), "{name} {status}"),
                }
            }
            let taken = path.matches('{').count();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let given = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(taken, given, "{name}");
        }
    }
    assert_eq!(operations, 14);
}
