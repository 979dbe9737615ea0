//! YAML, as much of it as API descriptions are written in: mappings and sequences by indentation, plain and quoted scalars of one or several lines,
//! folded blocks, and lists in brackets. What else there is in YAML is an error or not told from these.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

/// A line with something on it.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    indent: usize,
    text: String,
}

/// The value of a whole document.
pub(super) fn parse(text: &str) -> Result<Value> {
    let lines = text.lines().enumerate().filter_map(|(number, line)| {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        let says = !text.is_empty() && !text.starts_with('#');
        says.then(|| Line { number: number + 1, indent, text: text.to_owned() })
    });
    let mut reader = Reader { lines: lines.collect(), at: 0 };
    let value = reader.block(0)?;
    ensure!(reader.peek().is_none(), "line {} is not understood", reader.lines[reader.at].number);
    Ok(value)
}

struct Reader {
    lines: Vec<Line>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Line> {
        self.lines.get(self.at)
    }

    /// What begins at the next line, which is indented at least so far.
    fn block(&mut self, least: usize) -> Result<Value> {
        let Some(line) = self.peek().filter(|line| line.indent >= least).cloned() else {
            return Ok(Value::Null);
        };
        if line.text.starts_with("- ") {
            self.sequence(line.indent)
        } else if key(&line.text).is_some() {
            self.mapping(line.indent)
        } else {
            self.at += 1;
            self.scalar(&line.text, least)
        }
    }

    fn sequence(&mut self, indent: usize) -> Result<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent) {
            let Some(rest) = line.text.strip_prefix("- ") else { break };
            // What stands behind the dash is a line of its own, indented as far as it stands there.
            let rest = rest.trim_start().to_owned();
            let inner = indent + line.text.len() - rest.len();
            let number = line.number;
            self.lines[self.at] = Line { number, indent: inner, text: rest };
            items.push(self.block(inner)?);
        }
        Ok(Value::Array(items))
    }

    fn mapping(&mut self, indent: usize) -> Result<Value> {
        let mut map = Map::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent).cloned() {
            let found = key(&line.text).with_context(|| format!("line {}: no key", line.number))?;
            self.at += 1;
            let (name, rest) = found;
            let value = match rest {
                "" => {
                    // A sequence may stand as far to the left as the key that it belongs to.
                    let beside =
                        self.peek().is_some_and(|next| next.indent == indent && next.text.starts_with("- "));
                    self.block(if beside { indent } else { indent + 1 })?
                }
                ">" | ">-" | "|" | "|-" => Value::String(self.rest(String::new(), indent + 1)),
                rest => self.scalar(rest, indent + 1)?,
            };
            ensure!(
                map.insert(name.to_owned(), value).is_none(),
                "line {}: {name} is there twice",
                line.number
            );
        }
        Ok(Value::Object(map))
    }

    /// A scalar that begins so and goes on in the lines that are indented at least so far.
    fn scalar(&mut self, first: &str, least: usize) -> Result<Value> {
        let text = self.rest(first.to_owned(), least);
        if let Some(list) = text.strip_prefix('[') {
            let list = list.strip_suffix(']').with_context(|| format!("{text:?} has no end"))?;
            return list.split(',').map(|item| single(item.trim())).collect::<Result<_>>().map(Value::Array);
        }
        single(&text)
    }

    fn rest(&mut self, mut text: String, least: usize) -> String {
        while let Some(line) = self.peek().filter(|line| line.indent >= least) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&line.text);
            self.at += 1;
        }
        text
    }
}

/// A key and what stands behind it on its line.
fn key(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = match text.strip_suffix(':') {
        Some(name) if !name.contains(": ") => (name, ""),
        _ => text.split_once(": ")?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/{}$.".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then(|| (name, rest.trim()))
}

fn single(text: &str) -> Result<Value> {
    for mark in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(mark) {
            let Some(quoted) = quoted.strip_suffix(mark) else { bail!("{text:?} has no end") };
            return Ok(Value::String(quoted.to_owned()));
        }
    }
    Ok(match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "~" => Value::Null,
        number if number.parse::<i64>().is_ok() => Value::from(number.parse::<i64>()?),
        text => Value::String(text.to_owned()),
    })
}
