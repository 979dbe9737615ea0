//! The host's side.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::scan::Window;
use super::{HELLO, MORE_THAN_A_FRAME, Nonce, OK, PIECE};

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How often the agent was asked.
    pub asked: u32,
}

/// How many times longer the last answers may take than the first.
const LONGER: u32 = 16;
/// The most bytes before the answer: several times of what an earlier link may have left on its way. Who sends more is no agent, and reading on would be work without end.
const MOST_BEFORE: usize = 64 << 20;

/// Asks until the agent answers; afterwards HTTP/2 can begin. `again` is how long the first answer may take before the next
/// question; it doubles with each, or an agent that has little of a busy host would never answer the last one in time. There is no
/// limit: whoever calls sets one.
///
/// # Errors
/// When the stream ends or breaks, or what comes out of it is endless and no answer.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, again: Duration) -> io::Result<Opened> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut left = MOST_BEFORE;
    let mut patience = again;
    for asked in 1.. {
        let nonce = Nonce::fresh();
        let mut line = Vec::new();
        if asked > 1 {
            // The first may have gone into the rest of a frame.
            line.resize(MORE_THAN_A_FRAME, b'\n');
        }
        line.extend_from_slice(HELLO);
        line.extend_from_slice(nonce.digits());
        line.push(b'\n');
        // An agent that does not read yet, or that waits until its own bytes are read, must not hold this up for ever.
        let write = async {
            to.write_all(&line).await?;
            to.flush().await
        };
        let read = answer(&mut from, nonce, &mut left);
        tokio::pin!(read);
        tokio::pin!(write);
        tokio::select! {
            // Its digits are in it, so all of the question was read.
            done = &mut read => { done?; return Ok(Opened { asked }) }
            done = &mut write => done?,
        }
        if let Ok(done) = timeout(patience, read).await {
            done?;
            return Ok(Opened { asked });
        }
        patience = (patience * 2).min(again * LONGER);
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Reads everything up to the answer to this question, and no more than is left to be read. Behind it there is nothing: the agent waits for HTTP/2 to begin.
async fn answer(from: &mut (impl AsyncRead + Unpin), nonce: Nonce, left: &mut usize) -> io::Result<()> {
    let mut window = Window::new(OK.len() + Nonce::DIGITS + 1);
    let mut bytes = BytesMut::with_capacity(PIECE);
    loop {
        bytes.clear();
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left = left.checked_sub(bytes.len()).ok_or_else(|| {
            let why = format!("{MOST_BEFORE} bytes that are no answer");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        window.extend(&bytes);
        let text = window.ends_with(OK, Nonce::DIGITS + 1);
        if text.is_some_and(|text| text.strip_prefix(nonce.digits()) == Some(b"\n")) {
            return Ok(());
        }
    }
}
