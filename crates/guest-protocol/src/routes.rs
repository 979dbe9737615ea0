//! The paths.

use http_method::{GET, POST, PUT};

/// What a host can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// How the guest is.
    Health,
    /// How it is, on every change.
    Watch,
    /// What it is for.
    Configure,
    /// A process beside the workload.
    Exec,
    /// What the workload said.
    Logs,
    /// An archive of files, out of the seat.
    FilesDown,
    /// An archive of files, into the seat.
    FilesUp,
    /// A signal for the workload.
    Signal,
    /// The clock.
    Time,
    /// The end.
    Stop,
}

/// Methods as text, so that the agent and the client need not share a crate of HTTP.
mod http_method {
    pub(super) const GET: &str = "GET";
    pub(super) const POST: &str = "POST";
    pub(super) const PUT: &str = "PUT";
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Health,
        Self::Watch,
        Self::Configure,
        Self::Exec,
        Self::Logs,
        Self::FilesDown,
        Self::FilesUp,
        Self::Signal,
        Self::Time,
        Self::Stop,
    ];

    /// Its method and path.
    #[must_use]
    pub const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Health => (GET, "/v1/health"),
            Self::Watch => (GET, "/v1/watch"),
            Self::Configure => (POST, "/v1/configure"),
            Self::Exec => (POST, "/v1/exec"),
            Self::Logs => (GET, "/v1/logs"),
            Self::FilesDown => (GET, "/v1/files"),
            Self::FilesUp => (PUT, "/v1/files"),
            Self::Signal => (POST, "/v1/signal"),
            Self::Time => (POST, "/v1/time"),
            Self::Stop => (POST, "/v1/stop"),
        }
    }

    /// The route of a request, if there is one.
    #[must_use]
    pub fn find(method: &str, path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.parts() == (method, path))
    }

    /// What it does, for messages: "the agent cannot …".
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Health => "tell its health",
            Self::Watch => "watch its health",
            Self::Configure => "take its configuration",
            Self::Exec => "start a process",
            Self::Logs => "read the log",
            Self::FilesDown => "read files",
            Self::FilesUp => "write files",
            Self::Signal => "send a signal",
            Self::Time => "set the clock",
            Self::Stop => "stop the seat",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_and_no_other() {
        for route in Route::ALL {
            let (method, path) = route.parts();
            assert_eq!(Route::find(method, path), Some(route));
        }
        assert_eq!(Route::find("GET", "/v1/stop"), None);
        assert_eq!(Route::find("GET", "/v1/health/"), None);
    }
}
