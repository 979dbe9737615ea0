//! What comes in: path, query and body, read by hand so that every mistake is reported at once.
//!
//! A handler asks for each value in turn. A reader that meets a mistake notes it in [`FieldErrors`] and returns
//! `None`; [`FieldErrors::check`] at the end turns the notes into one 400.

mod body;
mod duration;
mod errors;
mod fields;
mod json;
mod nearest;
mod parts;

pub(crate) use body::JsonBody;
pub(crate) use duration::{pattern as duration_pattern, up_to as number_pattern};
pub(crate) use errors::FieldErrors;
pub(crate) use fields::{Fields, kind, shown};
pub(crate) use parts::Input;
