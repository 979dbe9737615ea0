//! Whether a value fits a schema: the part of Swagger 2.0 that Firecracker's description uses. Properties that are not described are refused, as Firecracker
//! does; what this does not know is an error.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::object;

/// The words of a schema that say nothing about a value.
const SILENT: [&str; 5] = ["description", "default", "example", "readOnly", "format"];

pub(super) fn check(document: &Value, schema: &Value, value: &Value) -> Result<()> {
    let words = object(schema, "schema")?;
    if let Some(reference) = words.get("$ref") {
        let name = reference.as_str().and_then(|name| name.strip_prefix("#/definitions/"));
        let name = name.with_context(|| format!("{reference} is not known"))?;
        let definition = &document["definitions"][name];
        return check(document, definition, value).with_context(|| name.to_owned());
    }
    for (word, wanted) in words {
        match word.as_str() {
            "type" => kind(wanted, value)?,
            "enum" => {
                let all = wanted.as_array().context("an enum that is no array")?;
                ensure!(all.contains(value), "{value} is none of {wanted}");
            }
            "minimum" => ensure!(number(value)? >= number(wanted)?, "{value} is less than {wanted}"),
            "maximum" => ensure!(number(value)? <= number(wanted)?, "{value} is more than {wanted}"),
            "required" => {
                for name in wanted.as_array().context("a list of names")? {
                    let name = name.as_str().context("a name")?;
                    ensure!(object(value, "object")?.contains_key(name), "{name} is missing");
                }
            }
            "properties" | "additionalProperties" => {}
            "items" => {
                let items = value.as_array().with_context(|| format!("{value} is no array"))?;
                items.iter().try_for_each(|item| check(document, wanted, item))?;
            }
            word => ensure!(SILENT.contains(&word), "the word {word} is not known"),
        }
    }
    if words.get("format").is_some_and(|format| format == "int64") {
        ensure!(value.is_i64(), "{value} is more than {}", i64::MAX);
    }
    if words.get("type").is_some_and(|kind| kind == "object") {
        let described = words.get("properties").and_then(Value::as_object);
        for (name, value) in object(value, "object")? {
            match described.and_then(|properties| properties.get(name)) {
                Some(schema) => check(document, schema, value).with_context(|| name.clone())?,
                None => bail!("there is no {name}"),
            }
        }
    }
    Ok(())
}

fn number(value: &Value) -> Result<i128> {
    let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    number.with_context(|| format!("{value} is no integer"))
}

fn kind(wanted: &Value, value: &Value) -> Result<()> {
    let holds = match wanted.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => bail!("the type {wanted} is not known"),
    };
    ensure!(holds, "{value} is no {}", wanted.as_str().unwrap_or_default());
    Ok(())
}
