//! Commands, carried out: each by one control, which names itself in the ledger.
//!
//! ```text
//!   API ─► driver ─► plan ─► ledger ─► gateways, workers ─► answers ─► driver
//!                     ▲ view
//! ```
//!
//! The driver works in turns: it takes answers and new commands, asks `model::command` what each
//! target makes of them and of the view, writes all that changed at once, and only then sends what
//! is written as routed. What may not enter: when a target moves from one state to another.

mod adopt;
mod answers;
mod driven;
mod driver;
mod outgoing;
mod sights;
mod watching;

use std::sync::Arc;

use model::command::CommandId;
use store::Outcome;
use tokio::sync::{broadcast, mpsc, oneshot};

pub(crate) use adopt::Adopter;
pub(crate) use driver::Driver;
pub(crate) use sights::{Sights, way};
pub(crate) use watching::CommandWatches;

use crate::ledger::{Filed, Ledger};
use crate::{Error, Limits};

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// Carry this out, if nobody gave the same command before.
    New(Box<Filed>, oneshot::Sender<Result<Made, Error>>),
    /// Carry this out in place of the control of that name.
    Adopted(Box<Filed>, String),
    /// Somebody changed it in the ledger.
    Changed(CommandId),
}

/// What became of a new command.
#[derive(Debug)]
pub(crate) enum Made {
    /// It is in the ledger.
    Filed(Box<Filed>),
    /// A command of this id was there before.
    Exists,
}

/// The way to the driver of this control. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    limits: Limits,
    tell: mpsc::Sender<Told>,
    /// Commands that changed here.
    changes: Arc<broadcast::Sender<CommandId>>,
}

impl Commands {
    /// The way, and its other end.
    pub(crate) fn new(limits: Limits) -> (Self, mpsc::Receiver<Told>) {
        let (tell, told) = mpsc::channel(limits.command_inbox_max);
        let changes = Arc::new(broadcast::Sender::new(limits.command_inbox_max));
        (Self { limits, tell, changes }, told)
    }

    /// Has a command stored and carried out. If it takes too long, nothing is known of it; what
    /// the driver has not begun with by then it leaves.
    pub(crate) async fn give(&self, ledger: &Ledger, filed: Filed) -> Result<Made, Error> {
        let give = async {
            let Some(filed) = with_rest(ledger, filed).await? else { return Ok(Made::Exists) };
            let filed = Box::new(filed);
            let (made, outcome) = oneshot::channel();
            let stopped = || Error::Unavailable("this server stops".to_owned());
            self.tell.send(Told::New(filed, made)).await.map_err(|_| stopped())?;
            outcome.await.unwrap_or_else(|_| Err(stopped()))
        };
        crate::error::within(self.limits.command_give_timeout, "the ledger", give).await
    }

    /// Somebody changed a command in the ledger.
    pub(crate) async fn changed(&self, id: CommandId) {
        // A driver that is gone needs to know nothing.
        let _ = self.tell.send(Told::Changed(id)).await;
    }

    pub(crate) async fn adopted(&self, filed: Filed, from: String) {
        let _ = self.tell.send(Told::Adopted(Box::new(filed), from)).await;
    }

    /// Where the driver says what changed.
    pub(crate) fn sender(&self) -> Arc<broadcast::Sender<CommandId>> {
        self.changes.clone()
    }

    /// Commands that change here from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<CommandId> {
        self.changes.subscribe()
    }
}

/// Stores all parts of a command but the first, which makes it one; `None` if there is something
/// of that id.
async fn with_rest(ledger: &Ledger, mut filed: Filed) -> Result<Option<Filed>, Error> {
    let rest: Vec<usize> = (1..filed.parts.len()).collect();
    if rest.is_empty() {
        return Ok(Some(filed));
    }
    let writes = rest.iter().map(|part| ledger.command_write(&filed, *part)).collect();
    for (part, outcome) in rest.into_iter().zip(ledger.write_commands(writes).await?) {
        match outcome {
            Outcome::Written(version) => filed.parts[part].version = version,
            Outcome::Conflict => return Ok(None),
        }
    }
    Ok(Some(filed))
}
