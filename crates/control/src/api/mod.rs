//! The gRPC services: requests checked and turned into calls, results into messages.

mod agents;
mod assignments;
pub(crate) mod commands;
mod components;
mod configs;
pub(crate) mod convert;
mod credentials;
mod custom;
mod fleet;
mod issued;
mod labels;
mod list;
pub(crate) mod names;
mod order;
mod packages;
pub(crate) mod page;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use bus::Client;
use model::Random;
use store::Store;
use trust::Door;

use crate::Limits;
use crate::commands::{CommandWatches, Commands};
use crate::components::Lists;
use crate::ledger::Ledger;
use crate::processes::Processes;
use crate::reconcile::Decided;
use crate::trace::Traces;
use crate::view::View;
use crate::watch::Watches;

/// What every service works with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) records: Arc<dyn Store>,
    pub(crate) ledger: Ledger,
    pub(crate) decided: Decided,
    pub(crate) bus: Client,
    pub(crate) lists: Lists,
    pub(crate) watches: Watches,
    pub(crate) traces: Traces,
    pub(crate) door: Door,
    /// Name of this control.
    pub(crate) name: String,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) commands: Commands,
    pub(crate) command_watches: CommandWatches,
    /// How long credentials of agents are good.
    pub(crate) credential_lifetime: Duration,
}
