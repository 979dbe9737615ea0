//! A registry with one image, slow enough to watch.
//!
//! It speaks as much of the distribution protocol (OCI distribution specification 1.1, "pull") as an engine needs
//! to pull an image of one empty layer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// How long the configuration takes.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Content {
    manifest: Bytes,
    config: Bytes,
    layer: Bytes,
    configs_sent: AtomicUsize,
}

/// The registry; it ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    content: Arc<Content>,
    task: tokio::task::JoinHandle<()>,
}

impl Registry {
    /// Listens on a free port of this machine, which engines take for a registry without TLS.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // An archive without entries is two blocks of zeros. The address makes the image unlike any other.
        let layer = Bytes::from(vec![0; 1024]);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","author":"{address}","config":{{"Cmd":["/none"],"ExposedPorts":{{"8888/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"a test"}}]}}"#,
            digest(&layer)
        );
        let config = Bytes::from(config);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","size":{},"digest":"{}"}},"layers":[{{"mediaType":"{LAYER}","size":{},"digest":"{}"}}]}}"#,
            config.len(),
            digest(&config),
            layer.len(),
            digest(&layer)
        );
        let content =
            Arc::new(Content { manifest: manifest.into(), config, layer, configs_sent: AtomicUsize::new(0) });
        let shared = content.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let content = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(content.clone(), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(Self { address, content, task })
    }

    /// A reference to an image of this registry.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}:1", self.address)
    }

    /// How many times the image's configuration was fetched: once per pull.
    #[must_use]
    pub fn pulls(&self) -> usize {
        self.content.configs_sent.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

async fn answer(content: Arc<Content>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let path = request.uri().path();
    let (kind, body) = if path == "/v2/" {
        ("application/json", Bytes::from_static(b"{}"))
    } else if path.contains("/manifests/") {
        (MANIFEST, content.manifest.clone())
    } else if path.ends_with(&digest(&content.config)) {
        content.configs_sent.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(SLOW).await;
        (CONFIG, content.config.clone())
    } else if path.ends_with(&digest(&content.layer)) {
        (LAYER, content.layer.clone())
    } else {
        return Ok(Response::builder().status(404).body(Full::default())?);
    };
    Ok(Response::builder()
        .header("docker-distribution-api-version", "registry/2.0")
        .header("docker-content-digest", digest(&body))
        .header("content-type", kind)
        .header("content-length", body.len())
        .body(Full::new(body))?)
}
