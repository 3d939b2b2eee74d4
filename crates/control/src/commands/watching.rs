//! Watches of commands: what changed, from the ledger, woken by the driver where it is this
//! control's.

use std::collections::BTreeMap;

use model::command::CommandId;
use opamp::InstanceUid;
use tokio::sync::broadcast;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::Commands;
use crate::api::commands::{command, target};
use crate::ledger::Ledger;
use crate::stream::{Bounds, Ended, Queue, Streams};
use crate::v1::{CommandTarget, WatchCommandResponse};
use crate::{Error, Limits};

type Update = Result<WatchCommandResponse, Status>;

/// Starts watches of commands, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct CommandWatches {
    limits: Limits,
    ledger: Ledger,
    commands: Commands,
    streams: Streams,
}

/// Follows one command.
struct Watcher {
    limits: Limits,
    ledger: Ledger,
    id: CommandId,
    changes: broadcast::Receiver<CommandId>,
    queue: Queue<WatchCommandResponse>,
}

impl CommandWatches {
    /// Watches are tasks of `tasks` and end at `stop`.
    pub(crate) fn new(
        limits: Limits,
        ledger: Ledger,
        commands: Commands,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let bounds = Bounds {
            does: "watch commands",
            gauge: "muster_control_watches",
            most: limits.watches_max,
            queue_max: limits.watch_queue_max,
            stall: limits.watch_stall,
        };
        Self { limits, ledger, commands, streams: Streams::new(bounds, tasks, stop) }
    }

    /// Starts a watch. It ends when the command is settled, or its watcher refused.
    pub(crate) fn start(
        &self,
        id: CommandId,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Update>, Error> {
        let slot = self.streams.slot()?;
        let (limits, ledger) = (self.limits, self.ledger.clone());
        let changes = self.commands.changes();
        let watch = |queue| Watcher { limits, ledger, id, changes, queue }.run();
        Ok(self.streams.run(refused, slot, watch, async {}))
    }
}

impl Watcher {
    /// Says what changed until it is settled, or why it cannot go on.
    async fn run(mut self) -> Ended {
        let mut known: BTreeMap<InstanceUid, CommandTarget> = BTreeMap::new();
        let mut first = true;
        loop {
            let filed = match self.ledger.command(&self.id).await {
                Ok(Some(filed)) => filed,
                Ok(None) => return Some(Error::NotFound(format!("commands/{}", self.id))),
                Err(error) => return Some(error),
            };
            let now = self.ledger.clock.now();
            let mut changed = Vec::new();
            for found in filed.targets() {
                let shown = target(found, &filed.order, now);
                if known.get(&found.uid) != Some(&shown) {
                    known.insert(found.uid, shown.clone());
                    changed.push(shown);
                }
            }
            if first || !changed.is_empty() {
                first = false;
                let update = WatchCommandResponse { command: Some(command(&filed, now)), changed };
                if let Err(ended) = self.queue.send(update).await {
                    return ended;
                }
            }
            if filed.is_settled(now) {
                return None;
            }
            self.changed().await;
        }
    }

    /// Waits until it may have changed.
    async fn changed(&mut self) {
        let told = async {
            loop {
                match self.changes.recv().await {
                    Ok(id) if id != self.id => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            () = told => {}
            () = sleep(self.limits.command_watch_interval) => {}
        }
    }
}
