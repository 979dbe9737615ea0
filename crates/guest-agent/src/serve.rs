//! What the host can ask for: HTTP/2 on one stream.
//!
//! Everything is bounded: requests at a time, the size of documents, what waits to be sent (HTTP/2's windows, and channels of a few
//! pieces). A host that goes away in the middle of anything takes it with it: processes beside the workload end, and archives stop.

mod answer;
mod exec;
mod files;
mod files_down;
mod files_up;
mod logs;
mod terminal;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use guest_protocol::{
    FilesQuery, GuestConfig, LogQuery, MAX_DOCUMENT, Problem, ProblemCode, Route, SetTime, SignalRequest,
    StopRequest,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::answer::Body;
use crate::guest::Guest;

/// The most requests at a time.
const STREAMS: u32 = 64;
/// How long a document may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long answers may take to go, when the guest ends.
const LAST: Duration = Duration::from_secs(1);

/// Answers a host until it goes away or the guest ends; how it ended.
pub(crate) async fn connection<S>(guest: &Arc<Guest>, stream: S) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let guest = guest.clone();
        async move {
            Ok::<_, Infallible>(
                route(&guest, request).await.unwrap_or_else(|problem| answer::problem(&problem)),
            )
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => match ended {
            Ok(()) => "the host has closed it".into(),
            Err(why) => why.to_string(),
        },
        () = guest.over() => {
            connection.as_mut().graceful_shutdown();
            drop(timeout(LAST, connection).await);
            "the machine ends".into()
        }
    }
}

async fn route(guest: &Arc<Guest>, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some(route) = Route::find(request.method().as_str(), request.uri().path()) else {
        let message = format!("this agent has no {} {}", request.method(), request.uri().path());
        return Err(Problem::new(ProblemCode::NoRoute, message));
    };
    let body = request.into_body();
    Ok(match route {
        Route::Health => answer::document(&guest.health()),
        Route::Watch => watch::answer(guest),
        Route::Configure => {
            guest.configure(read::<GuestConfig>(body).await?)?;
            answer::document(&guest.health())
        }
        Route::Exec => exec::answer(guest, body).await?,
        Route::Logs => logs::answer(guest, LogQuery::from_query(&query)?),
        Route::FilesDown => files::down(guest, FilesQuery::from_query(&query)?)?,
        Route::FilesUp => files::up(guest, FilesQuery::from_query(&query)?, body).await?,
        Route::Signal => {
            let SignalRequest { signal } = read(body).await?;
            let sent = guest.workload_pid().is_some_and(|pid| guest.reaper.signal(pid, signal, false));
            if !sent {
                return Err(Problem::new(ProblemCode::Conflict, "the workload does not run"));
            }
            answer::nothing()
        }
        Route::Time => {
            let SetTime { unix_ns } = read(body).await?;
            guest.set_clock(unix_ns).map_err(|why| Problem::new(ProblemCode::Failed, why))?;
            answer::nothing()
        }
        Route::Stop => {
            let StopRequest { deadline_ms } = read(body).await?;
            guest.stop(Duration::from_millis(deadline_ms));
            answer::nothing()
        }
    })
}

/// Reads the document of a request. What is wrong with it is told without quoting it.
async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Problem> {
    let invalid = |message: String| Problem::new(ProblemCode::Invalid, message);
    let collected = timeout(PATIENCE, Limited::new(body, MAX_DOCUMENT).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(why)) if why.is::<http_body_util::LengthLimitError>() => {
            return Err(Problem::new(
                ProblemCode::TooLarge,
                format!("the document has more than {MAX_DOCUMENT} bytes"),
            ));
        }
        Ok(Err(why)) => return Err(invalid(format!("the document did not come as a whole: {why}"))),
        Err(_) => return Err(invalid("the document did not come in time".into())),
    };
    serde_json::from_slice(&bytes).map_err(|why| invalid(answer::unquoted(&why)))
}
