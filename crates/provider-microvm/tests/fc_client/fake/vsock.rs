//! The host's side of a vsock device, and a guest that says again what it is told.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

/// Answers whoever connects, as long as this process lives.
pub(super) fn echo(listener: UnixListener, port: u32) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever goes away in the middle is not missed.
            std::thread::spawn(move || drop(converse(stream, port)));
        }
    });
}

fn converse(stream: UnixStream, port: u32) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line != format!("CONNECT {port}\n") {
        return Ok(());
    }
    writer.write_all(b"OK 1073741824\n")?;
    io::copy(&mut reader, &mut writer).map(drop)
}
