//! The bodies that callers send.

mod class;
mod common;
mod seat;

pub(crate) use class::{ClassWish, class_wish};
pub(crate) use seat::seat_request;
