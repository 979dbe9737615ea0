//! The listener: who gets a connection, how long it may be silent or deaf, and how it all ends.
//!
//! An accept loop of its own, because what a public listener needs most is a bound on everything: connections at
//! a time, headers, and the time they take. Bodies and handlers have their bounds further in.

mod accept;
mod limits;
mod stall;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use limits::ServerLimits;

/// Serves `app` until `shutdown` is ready; then takes no new connections, closes idle ones, and lets requests in
/// progress end within [`ServerLimits::grace`]. Returns when the last connection is closed or the grace is over.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ServerLimits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let http = limits.http();
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // A place first: while there is none, connections wait in the kernel's queue.
        let next = async {
            let place = places.clone().acquire_owned().await;
            (accept::next(&listener).await, place)
        };
        let (stream, place) = tokio::select! {
            accepted = next => accepted,
            () = &mut shutdown => break,
        };
        let service = TowerToHyperService::new(app.clone());
        let stream = TokioIo::new(stall::Stalling::new(stream, limits.write_timeout));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // A client that breaks off or speaks no HTTP: its business, but worth finding.
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let open = graceful.count();
    tracing::info!(open, "no new connections; waiting for those that are open");
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            grace_s = limits.grace.as_secs(),
            "connections were still open at the end of the grace"
        );
    }
}

impl ServerLimits {
    fn http(&self) -> hyper::server::conn::http1::Builder {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(self.headers)
            .max_header_size(self.header_bytes)
            .keep_alive(true);
        http
    }
}
