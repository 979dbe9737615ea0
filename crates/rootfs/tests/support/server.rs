//! A registry that does what a test tells it, on a real socket.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::image::{MANIFEST, Parts};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Ask {
    pub path: String,
    pub authorization: Option<String>,
    /// How many times this path was asked for before.
    pub before: usize,
}

/// What is answered; the connection ends after it.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// `Content-Length` where it is not that of the body.
    pub said: Option<u64>,
    /// The body again and again, without a length.
    pub endless: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), said: None, endless: false }
    }

    pub fn body(body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::status(200) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The server; it ends when it is dropped.
pub struct Server {
    pub address: String,
    asks: Arc<Mutex<Vec<Ask>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asks: Arc<Mutex<Vec<Ask>>> = Arc::default();
        let (seen, answer) = (asks.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who breaks off gets no answer.
                tokio::spawn(serve(stream, seen.clone(), answer.clone()));
            }
        });
        Self { address, asks, task }
    }

    /// An image in it.
    pub fn image(&self) -> String {
        format!("{}/some/image:1", self.address)
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// How many times something whose path has `part` in it was asked for.
    pub fn count(&self, part: &str) -> usize {
        self.asks().iter().filter(|ask| ask.path.contains(part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    asks: Arc<Mutex<Vec<Ask>>>,
    answer: Arc<impl Fn(&Ask) -> Reply>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (None, 0_u64);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    (&mut stream).take(length).read_to_end(&mut body).await?;
    let ask = {
        let mut asks = asks.lock().unwrap();
        let before = asks.iter().filter(|ask| ask.path == path).count();
        asks.push(Ask { path, authorization, before });
        asks.last().unwrap().clone()
    };
    let reply = answer(&ask);
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !reply.endless {
        head += &format!("content-length: {}\r\n", reply.said.unwrap_or(reply.body.len() as u64));
    }
    head += "\r\n";
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&reply.body).await?;
        if !reply.endless {
            return stream.shutdown().await;
        }
    }
}

/// What an honest registry answers.
pub fn honest(parts: &Parts, ask: &Ask) -> Reply {
    match ask.path.split_once("/blobs/") {
        Some((_, digest)) => {
            parts.blobs.get(digest).map_or_else(|| Reply::status(404), |blob| Reply::body(blob))
        }
        None if ask.path.contains("/manifests/") => {
            Reply::body(&parts.manifest).header("content-type", MANIFEST)
        }
        None => Reply::status(404),
    }
}
