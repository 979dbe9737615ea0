//! Finding the beginning on a stream that has no connections.
//!
//! A serial port carries bytes and knows no connections: after the host's process was killed, the next one finds what the
//! agent had not sent yet, and the agent finds a new beginning in the middle of what it took for a frame. So both sides begin with a
//! line, and throw away everything before the other's.
//!
//! ```text
//!   host                                                 agent
//!   CLARATEACH-LINK 1 <32 hex digits, fresh>\n  ──▶      looks for such a line in anything
//!                                    ◀──  OK <the same>\n
//!   looks for exactly that in anything
//!   PRI * HTTP/2.0…                  ──▶                 HTTP/2 from here on
//! ```
//!
//! A host that gets no answer in time asks again with fresh digits, and only the answer to its last question counts: answers come in
//! the order of the questions, so nothing is left on the stream behind the right one. The agent answers every line until HTTP/2's own
//! preface comes (RFC 9113, section 3.4). What the agent still takes for HTTP/2 when the line comes, it ends for: a line's first bytes say
//! a frame of four megabytes, which is refused. Should the line have gone into the rest of a half sent frame, the next ones
//! are preceded by more line ends than a frame can hold.

mod agent;
#[cfg(feature = "client")]
mod host;
mod nonce;
mod scan;

pub use agent::{Accepted, accept};
#[cfg(feature = "client")]
pub use host::{Opened, open};
pub use nonce::Nonce;

/// What the host's line begins with.
pub(crate) const HELLO: &[u8] = b"CLARATEACH-LINK 1 ";
/// What the agent's line begins with.
pub(crate) const OK: &[u8] = b"OK ";
/// The beginning of HTTP/2 of a client (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at a time.
pub(crate) const PIECE: usize = 4 << 10;
/// More than a frame may have unless the other side allows it (RFC 9113, section 4.2: 16384 and its header).
#[cfg(feature = "client")]
pub(crate) const MORE_THAN_A_FRAME: usize = 17 << 10;
