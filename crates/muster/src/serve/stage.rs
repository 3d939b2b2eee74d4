//! Tasks that start and end together. They run as long as the process does: one that ends
//! earlier is a failure, whatever it says.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Named tasks and the token that ends them.
#[derive(Debug, Default)]
pub(super) struct Stage {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Stage {
    /// Starts a task that runs until its token is cancelled.
    pub(super) fn start<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits for a task to end before its time.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((name, Ok(())))) => anyhow!("{name} ended by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
            Some(Err(error)) => anyhow!(error).context("a role broke down"),
        }
    }

    /// Tells all to end and waits for them, up to a limit.
    pub(super) async fn end(&mut self, limit: Duration) {
        self.stop.cancel();
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                let ended = ended.context("a role broke down");
                if let Err(error) = ended.and_then(|(name, ended)| ended.context(name)) {
                    tracing::error!("while ending: {error:#}");
                }
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!(seconds = limit.as_secs(), "not ended in time: cut off");
            self.tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_is_a_failure_and_is_named() {
        let mut stage = Stage::default();
        stage.start("gateway", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        stage.start("control", |_| async { Err(anyhow!("no way")) });
        assert_eq!(format!("{:#}", stage.failed().await), "control failed: no way");
        stage.end(Duration::from_secs(1)).await;
        assert!(stage.tasks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_cut_off() {
        let mut stage = Stage::default();
        stage.start("deaf", |_| std::future::pending());
        stage.end(Duration::from_secs(60)).await;
        assert!(stage.tasks.is_empty());
    }
}
