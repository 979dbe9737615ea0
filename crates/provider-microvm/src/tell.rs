//! Work on a task of its own, which ends whether or not anybody waits for it.
//!
//! Who asked for the work may go away in the middle of it; half of a create is nobody's wish. Meanwhile its stages are told to
//! whoever waits.

use seats::{ProviderError, Stage, Timeline};
use tokio::sync::mpsc;

enum Said {
    Stage(Stage),
    Note(String),
}

/// How work tells how far it is.
#[derive(Clone)]
pub(crate) struct Tell(mpsc::UnboundedSender<Said>);

impl Tell {
    /// A stage begins.
    pub(crate) fn stage(&self, stage: Stage) {
        // That nobody listens any more is no reason to end.
        let _ = self.0.send(Said::Stage(stage));
    }

    /// How far the stage is.
    pub(crate) fn note(&self, text: impl Into<String>) {
        let _ = self.0.send(Said::Note(text.into()));
    }
}

/// Does work on a task of its own and tells `timeline` of it.
pub(crate) async fn apart<T, F>(
    timeline: &Timeline,
    what: &str,
    work: impl FnOnce(Tell) -> F,
) -> Result<T, ProviderError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProviderError>> + Send + 'static,
{
    let (tell, mut said) = mpsc::unbounded_channel();
    let task = tokio::spawn(work(Tell(tell)));
    // Ends when the work does, which has the only sender.
    while let Some(said) = said.recv().await {
        match said {
            Said::Stage(stage) => timeline.enter(stage),
            Said::Note(text) => timeline.note(text),
        }
    }
    task.await.unwrap_or_else(|why| {
        Err(ProviderError::Failed {
            for_whom: what.to_string(),
            stage: Stage::Create,
            detail: "the work on it broke off".to_owned(),
            source: Some(Box::new(why)),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_any_more() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let timeline = Timeline::default();
        {
            let (go, done) = (go.clone(), done.clone());
            let mut waiting = Box::pin(apart(&timeline, "seat a/1", move |tell| async move {
                tell.stage(Stage::Volume);
                tell.note("half");
                go.notified().await;
                done.notify_one();
                Ok(())
            }));
            while timeline.now().is_none_or(|(_, note)| note.is_none()) {
                assert!(futures_util::poll!(&mut waiting).is_pending());
                tokio::task::yield_now().await;
            }
            assert_eq!(timeline.now(), Some((Stage::Volume, Some("half".into()))));
        }
        go.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let timeline = Timeline::default();
        let result: Result<(), _> =
            apart(&timeline, "seat a/1", |_| async { panic!("on purpose") as Result<(), ProviderError> })
                .await;
        assert!(result.unwrap_err().to_string().starts_with("seat a/1"));
    }
}
