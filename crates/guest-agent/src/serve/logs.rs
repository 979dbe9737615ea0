//! What the workload said.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use guest_protocol::{LogQuery, frame, output};
use hyper::Response;

use super::answer::{self, Body};
use crate::guest::Guest;
use crate::run::Source;

/// Lines from where they were asked for. Who follows and does not keep up misses lines: the workload does not wait for him.
pub(super) fn answer(guest: &Arc<Guest>, query: LogQuery) -> Response<Body> {
    let (sender, response) = answer::pieces();
    let guest = guest.clone();
    tokio::spawn(async move {
        let mut changes = guest.log.changes();
        let mut next = guest.log.tail(query.tail);
        loop {
            changes.mark_unchanged();
            let (lines, after) = guest.log.read(next);
            next = after;
            if lines.is_empty() {
                if !query.follow {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                    () = guest.over() => return,
                }
                continue;
            }
            let mut bytes = BytesMut::new();
            for line in lines {
                let kind = match line.source {
                    Source::Out => output::OUT,
                    Source::Err => output::ERR,
                };
                let mut payload = BytesMut::with_capacity(8 + line.bytes.len());
                payload.put_u64(line.unix_ms);
                payload.put_slice(&line.bytes);
                bytes.extend_from_slice(&frame::encode(kind, &payload));
            }
            if sender.send(Ok(bytes.freeze())).await.is_err() {
                return;
            }
        }
    });
    response
}
