//! An HTTP server on a unix socket that answers as it is told, also with what is no answer.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer; without a body when that is empty.
    Answer { status: u16, body: String },
    /// The same, later.
    Late(Duration, Box<Self>),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// The same without its end.
    Open(Vec<u8>),
    /// An answer, and the end of the whole server, whose socket stays.
    Last { status: u16, body: String },
    /// The end of the whole server without an answer.
    Die,
}

type Handler = Arc<Mutex<dyn FnMut(&Request) -> Reply + Send>>;

/// A server, which ends when it is dropped. Its socket's file stays, as that of a process does.
#[derive(Debug)]
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Listens on a socket that is not there yet.
    pub(crate) fn start(
        socket: &Path,
        handler: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> io::Result<Self> {
        let listener = StdListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let handler: Handler = Arc::new(Mutex::new(handler));
        Ok(Self(tokio::spawn(serve(listener, handler))))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        // An abort is an end, too.
        drop((&mut self.0).await);
    }
}

async fn serve(listener: UnixListener, handler: Handler) {
    // The connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(stream, Arc::clone(&handler)));
            }
            Some(last) = connections.join_next() => {
                if matches!(last, Ok(Ok(true))) {
                    return;
                }
            }
        }
    }
}

/// Answers the requests of one connection; whether that was the end of the server.
async fn converse(stream: UnixStream, handler: Handler) -> io::Result<bool> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let mut reply = {
            let mut handler = handler.lock().unwrap();
            handler(&request)
        };
        while let Reply::Late(after, then) = reply {
            tokio::time::sleep(after).await;
            reply = *then;
        }
        let (bytes, more, last) = match reply {
            Reply::Answer { status, body } => (written(status, &body), true, false),
            Reply::Raw(bytes) => (bytes, false, false),
            Reply::Open(bytes) => {
                stream.get_mut().write_all(&bytes).await?;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await?;
                return Ok(false);
            }
            Reply::Last { status, body } => (written(status, &body), false, true),
            Reply::Die => (Vec::new(), false, true),
            Reply::Late(..) => unreachable!("it was waited for"),
        };
        stream.get_mut().write_all(&bytes).await?;
        if !more {
            stream.get_mut().shutdown().await?;
            return Ok(last);
        }
    }
    Ok(false)
}

async fn read(stream: &mut BufReader<UnixStream>) -> io::Result<Option<Request>> {
    let mut first = String::new();
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut words = first.split_ascii_whitespace();
    let (method, path) = (words.next().ok_or_else(bad)?.to_owned(), words.next().ok_or_else(bad)?.to_owned());
    assert_eq!(words.next(), Some("HTTP/1.1"), "{first:?}");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse()).map_err(|_| bad())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { method, path, headers, body }))
}

fn written(status: u16, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        204 => "No Content",
        _ => "Bad Request",
    };
    let mut text =
        format!("HTTP/1.1 {status} {reason}\r\nServer: Firecracker API\r\nConnection: keep-alive\r\n");
    if status != 204 {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}
