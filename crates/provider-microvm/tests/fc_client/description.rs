//! The description of Firecracker's API, and whether a request fits it.
//!
//! It is Firecracker's own (`src/firecracker/swagger/firecracker.yaml`), and not part of this repository: the variable `FIRECRACKER_API` names it, or it is in
//! the folder `shared` beside the repository.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::server::Request;

mod schema;
mod yaml;

/// A description (Swagger 2.0), as much of it as requests need.
#[derive(Clone, Debug)]
pub(crate) struct Description(Value);

impl Description {
    /// The one of this machine. A test that takes it is told as skipped when there is none.
    pub(crate) fn find() -> Result<Option<Self>> {
        let named = std::env::var_os("FIRECRACKER_API").map(PathBuf::from);
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/firecracker.yaml");
        let path = match named {
            Some(path) => path,
            None if beside.is_file() => beside,
            None => {
                vm_testbed::skip(
                    "no description of Firecracker's API: set FIRECRACKER_API to its firecracker.yaml",
                );
                return Ok(None);
            }
        };
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string()).map(Some)
    }

    fn parse(text: &str) -> Result<Self> {
        let document = yaml::parse(text)?;
        ensure!(document["swagger"] == "2.0", "it is no Swagger 2.0");
        Ok(Self(document))
    }

    /// Whether a request fits, and which operation it is.
    pub(crate) fn operation(&self, request: &Request) -> Result<&str> {
        let Request { method, path, .. } = request;
        let (template, item) = self.path(path)?;
        let operation = &item[method.to_ascii_lowercase()];
        ensure!(operation.is_object(), "there is no {method} {template}");
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let body = parameters.iter().find(|parameter| parameter["in"] == "body");
        self.body(body, request).with_context(|| format!("{method} {path}"))?;
        operation["operationId"].as_str().context("an operation without a name")
    }

    fn body(&self, parameter: Option<&Value>, request: &Request) -> Result<()> {
        let Some(parameter) = parameter else {
            ensure!(request.body.is_empty(), "there is a body");
            return Ok(());
        };
        if request.body.is_empty() {
            ensure!(parameter["required"] != true, "there is no body");
            return Ok(());
        }
        let media = request.headers.get("content-type").map(String::as_str);
        let consumed = self.0["consumes"].as_array().context("no media types")?;
        ensure!(consumed.iter().any(|one| one.as_str() == media), "a body of type {media:?}");
        let body = serde_json::from_slice(&request.body).context("the body is no JSON")?;
        schema::check(&self.0, &parameter["schema"], &body).with_context(|| format!("{body}"))
    }

    /// The path of the description that a request has.
    fn path(&self, path: &str) -> Result<(&str, &Value)> {
        let paths = self.0["paths"].as_object().context("no paths")?;
        let same = |template: &str| {
            let (mut ours, mut theirs) = (path.split('/'), template.split('/'));
            loop {
                match (ours.next(), theirs.next()) {
                    (None, None) => return true,
                    (Some(part), Some(one)) if part == one && !one.starts_with('{') => {}
                    (Some(part), Some(one)) if !part.is_empty() && one.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        let found = paths.iter().find(|(template, _)| same(template));
        found
            .map(|(template, item)| (template.as_str(), item))
            .with_context(|| format!("there is no path {path}"))
    }
}

/// The properties of an object that is there.
fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        other => bail!("{other} is no {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r##"swagger: "2.0"
consumes:
  - application/json
paths:
  /things/{id}:
    put:
      operationId: putThing
      parameters:
        - name: id
          in: path
          required: true
          type: string
        - name: body
          in: body
          required: true
          schema:
            $ref: "#/definitions/Thing"
  /things:
    get:
      operationId: listThings
definitions:
  Thing:
    type: object
    required:
      - name
    properties:
      # What it is called.
      name:
        type: string
        description: A name
          of several lines, with "marks" in it.
      size:
        type: integer
        format: int64
        minimum: 2
        maximum: 9
      kind:
        type: string
        enum: ["One", "Two"]
      parts:
        type: array
        items:
          $ref: "#/definitions/Part"
  Part:
    type: object
    properties:
      on:
        type: boolean
"##;

    fn said(method: &str, path: &str, body: &str) -> String {
        let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
        let request = Request { method: method.into(), path: path.into(), headers, body: body.into() };
        let description = Description::parse(SMALL).unwrap();
        match description.operation(&request) {
            Ok(name) => name.to_owned(),
            Err(why) => why.root_cause().to_string(),
        }
    }

    #[test]
    fn what_fits_is_told_from_what_does_not() {
        let put = |body| said("PUT", "/things/a", body);
        assert_eq!(put(r#"{"name": "x"}"#), "putThing");
        assert_eq!(
            put(r#"{"name": "x", "size": 9, "kind": "Two", "parts": [{"on": true}, {}]}"#),
            "putThing"
        );
        assert_eq!(put("{}"), "name is missing");
        assert_eq!(put(r#"{"name": "x", "more": 1}"#), "there is no more");
        assert_eq!(put(r#"{"name": 1}"#), "1 is no string");
        assert_eq!(put(r#"{"name": null}"#), "null is no string");
        assert_eq!(put(r#"{"name": "x", "size": 1}"#), "1 is less than 2");
        assert_eq!(put(r#"{"name": "x", "size": 10}"#), "10 is more than 9");
        assert_eq!(put(r#"{"name": "x", "size": 2.5}"#), "2.5 is no integer");
        assert_eq!(put(r#"{"name": "x", "kind": "Three"}"#), "\"Three\" is none of [\"One\",\"Two\"]");
        assert_eq!(put(r#"{"name": "x", "parts": [{"off": 1}]}"#), "there is no off");
        assert_eq!(put(r#"{"name": "x", "parts": {}}"#), "{} is no array");
        assert_eq!(put("[]"), "[] is no object");
        assert_eq!(put(""), "there is no body");
        assert_eq!(said("GET", "/things", ""), "listThings");
        assert_eq!(said("GET", "/things", "{}"), "there is a body");
        assert_eq!(said("GET", "/things/", ""), "there is no path /things/");
        assert_eq!(said("PATCH", "/things", ""), "there is no PATCH /things");
    }
}
