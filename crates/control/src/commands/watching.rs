//! Watches of commands: what changed, from the ledger, woken by the driver where it is this
//! control's.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::command::CommandId;
use opamp::InstanceUid;
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::Commands;
use crate::api::commands::{command, target};
use crate::ledger::Ledger;
use crate::v1::{CommandTarget, WatchCommandResponse};
use crate::{Error, Limits};

type Update = Result<WatchCommandResponse, Status>;

/// Starts watches of commands, and bounds them.
#[derive(Debug, Clone)]
pub(crate) struct CommandWatches {
    limits: Limits,
    ledger: Ledger,
    commands: Commands,
    tasks: TaskTracker,
    stop: CancellationToken,
    free: Arc<Semaphore>,
}

/// Follows one command.
struct Watcher {
    limits: Limits,
    ledger: Ledger,
    id: CommandId,
    changes: broadcast::Receiver<CommandId>,
    queue: Sender<Update>,
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
        let free = Arc::new(Semaphore::new(limits.watches_max));
        Self { limits, ledger, commands, tasks, stop, free }
    }

    /// Starts a watch. It ends when the command is settled, or its watcher refused.
    pub(crate) fn start(
        &self,
        id: CommandId,
        refused: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Receiver<Update>, Error> {
        let slot = self.free.clone().try_acquire_owned();
        let most = self.limits.watches_max;
        let slot = slot.map_err(|_| Error::Exhausted(format!("{most} watch commands already")))?;
        let (queue, updates) = mpsc::channel(self.limits.watch_queue_max);
        let last = queue.clone().try_reserve_owned().expect("an empty queue has room");
        let changes = self.commands.changes();
        let (limits, ledger) = (self.limits, self.ledger.clone());
        let watcher = Watcher { limits, ledger, id, changes, queue };
        self.tasks.spawn(run(watcher, refused, self.stop.clone(), last, slot));
        Ok(updates)
    }
}

impl Watcher {
    /// Says what changed until it is settled, or why it cannot go on.
    async fn run(mut self) -> Option<Error> {
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
                match timeout(self.limits.watch_stall, self.queue.send(Ok(update))).await {
                    Ok(Ok(())) => {}
                    // Nobody listens any more.
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(Error::TooSlow),
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

/// One watch from start to end. The queue keeps a place for the last word, which says why.
async fn run(
    watcher: Watcher,
    refused: impl Future<Output = ()> + Send,
    stop: CancellationToken,
    last: OwnedPermit<Update>,
    _slot: OwnedSemaphorePermit,
) {
    let watching = async {
        tokio::select! {
            biased;
            () = refused => Some(Error::Unauthenticated),
            ended = watcher.run() => ended,
        }
    };
    match stop.run_until_cancelled(watching).await {
        Some(None) => {}
        Some(Some(error)) => drop(last.send(Err(error.into()))),
        None => drop(last.send(Err(Status::unavailable("this server stops")))),
    }
}
