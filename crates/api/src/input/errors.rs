//! The mistakes of one request.

use std::fmt::Display;

use crate::problem::{FieldError, Problem};

/// The most mistakes that are reported; a body of 256 KiB could hold a hundred thousand.
const MOST: usize = 100;

/// Collects the mistakes of a request.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors {
    errors: Vec<FieldError>,
    more: usize,
}

impl FieldErrors {
    /// Notes a mistake. The message must not quote a value that may be a secret.
    pub(crate) fn push(&mut self, field: impl Into<String>, message: impl Display) {
        if self.errors.len() < MOST {
            self.errors.push(FieldError { field: field.into(), message: message.to_string() });
        } else {
            self.more += 1;
        }
    }

    /// The value, when there was no mistake.
    ///
    /// # Errors
    /// 400 with every mistake; 500 when a value is missing and nobody said why, which is a fault of ours.
    pub(crate) fn check<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        if self.more > 0 {
            let message = format!("{} more mistakes are not listed", self.more);
            self.errors.push(FieldError { field: "…".into(), message });
        }
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            None if self.errors.is_empty() => Err(Problem::internal("a value was not read")),
            _ => Err(Problem::invalid(self.errors)),
        }
    }

    #[cfg(test)]
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.errors.iter().map(|error| error.field.as_str()).collect()
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.errors.iter().map(|error| error.message.as_str()).collect()
    }
}
