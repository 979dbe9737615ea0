//! Files as archives.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Incoming;

use super::{Agent, ClientError, body};
use crate::{FilesQuery, GuestPath, Owner, Route};

/// An archive that comes out of a seat.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
}

impl Agent {
    /// A file or folder of the seat as an archive (tar), with its last name at its top.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none.
    pub async fn files_down(&self, path: &GuestPath) -> Result<Download, ClientError> {
        let query = FilesQuery { path: path.clone(), owner: Owner::default() }.to_query();
        let response = self.call(Route::FilesDown, Some(&query), body::empty()).await?;
        Ok(Download { body: response.into_body() })
    }

    /// Unpacks an archive (tar) into a folder of the seat. It takes as long as its pieces take to come, and has no
    /// deadline of its own. What was unpacked before a failure stays.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such folder, the archive is damaged or leads out of it, or the disk is full.
    pub async fn files_up(
        &self,
        query: &FilesQuery,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), ClientError> {
        let body = body::stream(archive);
        self.call_unhurried(Route::FilesUp, Some(&query.to_query()), body).await.map(drop)
    }
}

impl Download {
    /// The next bytes; nothing at the end of a whole archive.
    ///
    /// # Errors
    /// When the link is lost, or the agent could not read a file: the archive is not whole then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match super::piece(&mut self.body).await {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            None => Ok(None),
            Some(Err(why)) => {
                Err(ClientError::Lost { what: Route::FilesDown.verb(), why: super::error::words(&why) })
            }
        }
    }
}
