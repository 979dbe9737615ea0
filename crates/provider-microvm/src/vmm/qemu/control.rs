//! Speaks to the QEMU of one VM, over a connection that is made anew when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Qmp, QmpError};
use crate::vmm::{RunFolder, folder, limits};

/// The control socket of one VM.
#[derive(Debug)]
pub(in crate::vmm) struct Control {
    folder: RunFolder,
    limit: Duration,
    qmp: Mutex<Option<Arc<Qmp>>>,
}

impl Control {
    pub(in crate::vmm) fn new(folder: RunFolder) -> Self {
        Self { folder, limit: limits::COMMAND, qmp: Mutex::new(None) }
    }

    /// The connection.
    pub(in crate::vmm) async fn qmp(&self) -> Result<Arc<Qmp>, QmpError> {
        let mut kept = self.qmp.lock().await;
        match &*kept {
            Some(qmp) if !qmp.is_over() => Ok(Arc::clone(qmp)),
            _ => {
                // The old one is closed first: QEMU takes one at a time.
                *kept = None;
                let stream = self.folder.connect(folder::QMP);
                let stream = stream.map_err(|why| QmpError::Unreachable(why.to_string()))?;
                let qmp = Arc::new(Qmp::begin(stream, self.limit).await?);
                *kept = Some(Arc::clone(&qmp));
                Ok(qmp)
            }
        }
    }
}
