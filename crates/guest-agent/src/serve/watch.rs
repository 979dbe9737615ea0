//! Health on every change.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;

use super::answer::{self, Body};
use crate::guest::Guest;

pub(super) fn answer(guest: &Arc<Guest>) -> Response<Body> {
    let (sender, response) = answer::pieces();
    let guest = guest.clone();
    let mut changes = guest.changes();
    tokio::spawn(async move {
        loop {
            changes.mark_unchanged();
            let Ok(mut line) = serde_json::to_vec(&guest.health()) else { return };
            line.push(b'\n');
            if sender.send(Ok(Bytes::from(line))).await.is_err() {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = guest.over() => return,
            }
        }
    });
    response
}
