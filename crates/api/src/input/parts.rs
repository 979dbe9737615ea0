//! Path and query of a request.

use std::fmt::Display;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use seats::{SeatBound, SeatId, WorkshopId};

use super::nearest::unknown;
use super::{FieldErrors, duration, shown};
use crate::app::App;
use crate::problem::{FieldError, Problem};

/// The path and query parameters of one request, and the mistakes found so far.
pub(crate) struct Input {
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    known: Vec<&'static str>,
    bound: SeatBound,
    max_wait: Duration,
    /// The mistakes; the body's readers add theirs.
    pub(crate) errors: FieldErrors,
}

impl Input {
    /// The workshop in the path.
    pub(crate) fn workshop(&mut self) -> Option<WorkshopId> {
        self.path_value("id", str::parse)
    }

    /// The seat in the path, of any number that some deployment could have made.
    pub(crate) fn seat(&mut self) -> Option<SeatId> {
        self.path_value("seat", |text| SeatBound::widest().parse(text))
    }

    /// The mistake of asking for a seat above this deployment's bound, for the handlers to make when there is no
    /// such seat. One that was made before the bound was lowered is shown and destroyed like any other.
    pub(crate) fn above_bound(&self, seat: SeatId) -> Option<Problem> {
        let error = self.bound.seat(seat.get().into()).err()?;
        Some(Problem::invalid(vec![FieldError { field: "seat".to_owned(), message: error.to_string() }]))
    }

    /// `?name=true` or `?name=false`; false when it is not there.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.query_value(name, false, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("this is true or false"),
        })
    }

    /// `?wait=`, or the default within what the operator allows.
    pub(crate) fn wait(&mut self, default: Duration) -> Option<Duration> {
        let most = self.max_wait;
        self.query_value("wait", default.min(most), |text| duration::parse(text, most))
    }

    /// Notes the query parameters that nobody asked for. Every handler calls it once, after its readers.
    pub(crate) fn finish_query(&mut self) {
        for (name, _) in std::mem::take(&mut self.query) {
            self.errors.push(shown(&name), unknown("query parameter", &name, &self.known));
        }
    }

    fn path_value<T, E: Display>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.path.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())?;
        read(text).map_err(|error| self.errors.push(name, error)).ok()
    }

    fn query_value<T, E: Display>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.known.push(name);
        let (mine, others) = std::mem::take(&mut self.query).into_iter().partition(|(key, _)| key == name);
        self.query = others;
        let mine: Vec<(String, String)> = mine;
        match mine.as_slice() {
            [] => Some(default),
            [(_, text)] => read(text).map_err(|error| self.errors.push(name, error)).ok(),
            _ => {
                self.errors.push(name, "this query parameter is there more than once");
                None
            }
        }
    }
}

impl FromRequestParts<App> for Input {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let mut errors = FieldErrors::default();
        let path = match RawPathParams::from_request_parts(parts, app).await {
            Ok(params) => params.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            Err(_) => {
                errors.push("path", "the path is not UTF-8");
                return errors.check(None);
            }
        };
        let Some(query) = pairs(parts.uri.query().unwrap_or_default()) else {
            errors.push("query", "the query is not UTF-8");
            return errors.check(None);
        };
        let config = &app.config;
        Ok(Self { path, query, known: Vec::new(), bound: config.bound, max_wait: config.max_wait, errors })
    }
}

/// The pairs of `a=b&c=d`, decoded; `None` when something in it is not UTF-8.
fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_taken_apart() {
        let owned = |pairs: &[(&str, &str)]| -> Option<Vec<(String, String)>> {
            Some(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        assert_eq!(pairs(""), owned(&[]));
        assert_eq!(pairs("a=1&&b&c=x%20y+z="), owned(&[("a", "1"), ("b", ""), ("c", "x y z=")]));
        assert_eq!(pairs("a=%ff"), None);
    }

    proptest! {
        #[test]
        fn no_query_panics(text in "\\PC{0,40}|[%&=+a-f0-9]{0,40}") {
            let _ = pairs(&text);
        }
    }
}
