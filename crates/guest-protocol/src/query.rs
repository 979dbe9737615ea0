//! Requests that are the query of a URI.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{FilesQuery, LogQuery, Owner, Problem, ProblemCode};

/// The parts of a query, with their values as they were meant.
fn parts(query: &str) -> impl Iterator<Item = Result<(&str, String), Problem>> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match percent_decode_str(value).decode_utf8() {
            Ok(value) => Ok((name, value.into_owned())),
            Err(_) => Err(invalid(format!("the query's {name} is no UTF-8"))),
        }
    })
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::Invalid, message)
}

impl FilesQuery {
    /// As a query.
    #[must_use]
    pub fn to_query(&self) -> String {
        let owner = match self.owner {
            Owner::Workload => "workload",
            Owner::Archive => "archive",
        };
        format!("path={}&owner={owner}", utf8_percent_encode(self.path.as_str(), NON_ALPHANUMERIC))
    }

    /// Of a query; what is not known is passed over.
    ///
    /// # Errors
    /// When the path is missing or is none, or the owner is not known.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut path, mut owner) = (None, Owner::default());
        for part in parts(query) {
            match part? {
                ("path", text) => path = Some(text.parse().map_err(|why| invalid(format!("{why}")))?),
                ("owner", text) => {
                    owner = match text.as_str() {
                        "workload" => Owner::Workload,
                        "archive" => Owner::Archive,
                        _ => return Err(invalid("owner is workload or archive")),
                    }
                }
                _ => {}
            }
        }
        let path = path.ok_or_else(|| invalid("the query has no path: /v1/files?path=/workspace"))?;
        Ok(Self { path, owner })
    }
}

impl LogQuery {
    /// As a query.
    #[must_use]
    pub fn to_query(&self) -> String {
        let tail = self.tail.map(|lines| format!("tail={lines}&")).unwrap_or_default();
        format!("{tail}follow={}", self.follow)
    }

    /// Of a query; what is not known is passed over.
    ///
    /// # Errors
    /// When a value is none.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut log = Self::default();
        for part in parts(query) {
            let (name, text) = part?;
            match name {
                "tail" => {
                    log.tail = Some(text.parse().map_err(|_| invalid("tail is a number of lines"))?);
                }
                "follow" => {
                    log.follow = text.parse().map_err(|_| invalid("follow is true or false"))?;
                }
                _ => {}
            }
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_they_were_written() {
        for path in ["/", "/workspace/a b&c=d%/ä"] {
            for owner in [Owner::Workload, Owner::Archive] {
                let query = FilesQuery { path: path.parse().unwrap(), owner };
                assert_eq!(FilesQuery::from_query(&query.to_query()), Ok(query));
            }
        }
        for log in [LogQuery::default(), LogQuery { tail: Some(3), follow: true }] {
            assert_eq!(LogQuery::from_query(&log.to_query()), Ok(log));
        }
        assert_eq!(LogQuery::from_query("later=1").unwrap(), LogQuery::default());
        for bad in ["", "path=a", "path=/%ff", "path=/..", "path=/&owner=me"] {
            assert!(FilesQuery::from_query(bad).is_err(), "{bad}");
        }
        assert!(LogQuery::from_query("tail=x").is_err() && LogQuery::from_query("follow=").is_err());
    }
}
