//! A JSON object, taken apart field by field.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::FieldErrors;
use super::nearest::unknown;

/// The fields of one JSON object. Every field is taken out at most once; [`Fields::finish`] reports what is left
/// as unknown, with the nearest name that was asked for.
pub(crate) struct Fields<'e> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    errors: &'e mut FieldErrors,
}

impl<'e> Fields<'e> {
    /// The fields of the body itself.
    pub(crate) fn of_body(body: Value, errors: &'e mut FieldErrors) -> Option<Self> {
        match body {
            Value::Object(map) => Some(Self { path: String::new(), map, known: Vec::new(), errors }),
            other => {
                errors.push("body", format_args!("the body is a JSON object, not {}", kind(&other)));
                None
            }
        }
    }

    /// The path of a field, as errors name it.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { shown(name) } else { format!("{}.{}", self.path, shown(name)) }
    }

    /// Notes a mistake in a field.
    pub(crate) fn wrong(&mut self, name: &str, message: impl Display) {
        self.errors.push(self.path(name), message);
    }

    /// Any value that is there.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name)
    }

    /// Any value; its absence is a mistake.
    pub(crate) fn required(&mut self, name: &'static str) -> Option<Value> {
        let value = self.value(name);
        if value.is_none() {
            self.wrong(name, "this field is required");
        }
        value
    }

    /// Text that becomes a `T`. The reader's message must not quote it where it may be a secret.
    pub(crate) fn text<T, E: Display>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(String) -> Result<T, E>,
    ) -> Option<T> {
        let text = match self.value(name)? {
            Value::String(text) => text,
            other => {
                self.wrong(name, not("text", &other));
                return None;
            }
        };
        read(text).map_err(|error| self.wrong(name, error)).ok()
    }

    /// A whole number of at least 0.
    pub(crate) fn whole(&mut self, name: &'static str) -> Option<u64> {
        let value = self.value(name)?;
        let number = value.as_u64();
        if number.is_none() {
            self.wrong(name, not("a whole number", &value));
        }
        number
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<f64> {
        let value = self.value(name)?;
        let number = value.as_f64();
        if number.is_none() {
            self.wrong(name, not("a number", &value));
        }
        number
    }

    /// An object whose names are the caller's own.
    pub(crate) fn map(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.value(name)? {
            Value::Object(map) => Some(map),
            other => {
                self.wrong(name, not("an object", &other));
                None
            }
        }
    }

    /// An object with fields of its own, read in place. `None` when it is not there, or no object.
    pub(crate) fn nested<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let map = self.map(name)?;
        let path = self.path(name);
        let mut inner = Fields { path, map, known: Vec::new(), errors: self.errors };
        let value = read(&mut inner);
        inner.finish();
        Some(value)
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(self) {
        for name in self.map.keys() {
            self.errors.push(self.path(name), unknown("field", name, &self.known));
        }
    }
}

/// "expected …, not …".
pub(crate) fn not(expected: &str, value: &Value) -> String {
    let hint = if value.is_null() { "; leave the field out instead" } else { "" };
    format!("this is {expected}, not {}{hint}", kind(value))
}

/// What a value is, in a word. Never the value itself.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction or out of range",
        Value::Number(number) if number.is_i64() && !number.is_u64() => "a negative number",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A caller's own name, as messages show it: bounded, and without characters that would disturb a terminal.
pub(crate) fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = name.chars().take(MOST).map(clean).collect();
    if name.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_reported_at_once() {
        let mut errors = FieldErrors::default();
        let mut fields = Fields::of_body(
            json!({"a": 1, "b": "x", "c": {"d": null, "deep": 2}, "whoel": 1, "e": -1}),
            &mut errors,
        )
        .unwrap();
        assert_eq!(fields.text("a", Ok::<_, String>), None);
        assert_eq!(fields.whole("b"), None);
        fields.nested("c", |inner| assert_eq!(inner.number("d"), None));
        assert_eq!(fields.whole("whole"), None);
        assert_eq!(fields.whole("e"), None);
        assert_eq!(fields.required("gone"), None);
        fields.finish();
        assert_eq!(errors.fields(), ["a", "b", "c.d", "c.deep", "e", "gone", "whoel"]);
        assert_eq!(errors.messages()[2], "this is a number, not null; leave the field out instead");
        assert_eq!(errors.messages()[6], "unknown field; did you mean 'whole'?");
    }

    #[test]
    fn a_strange_name_is_shown_short_and_clean() {
        assert_eq!(shown("a\n\u{1b}[31mb"), "a\u{fffd}\u{fffd}[31mb");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 65);
    }
}
