//! Deliberately broken worlds: each variant decorates a seam, and the simulator has to notice. What
//! cannot be told from a correct product is no variant: the product survives it.

mod buses;
mod commands;
mod stores;

use std::sync::Arc;

use bus::Bus;
use model::{Clock, Random, Timestamp};
use store::Store;

use crate::process::Process;
use crate::shelf::Which;
use crate::world::World;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Nothing: the product as it is.
    None,
    /// The records' compare-and-set takes any version.
    NoFencing,
    /// The records are acknowledged before they are written.
    AckBeforePersist,
    /// The records' store loses one write in twenty and says that it has it.
    LostCommits,
    /// So does the ledger.
    ForgetfulLedger,
    /// Events are not stored with the records that made them.
    NoOutbox,
    /// Reads of records answer with an older state.
    StaleReads,
    /// The ledger answers with an old list of assignments under the newest number.
    RolledBackIntent,
    /// A blob is not what its hash says.
    WrongBodies,
    /// Somebody says that a dead gateway delivered.
    DeadAnswer,
    /// Presence carries numbers that were not answered.
    PresenceAhead,
    /// Reports of stale sessions carry the epoch of the owner.
    ForgedEpochs,
    /// The event log loses one entry in ten.
    HolesInTheLog,
    /// Session ids and uids are drawn again and again.
    RepeatedIds,
    /// Clocks stand still.
    StoppedClocks,
    /// Commands that come twice are not known again: gateways forget whom they told what.
    ForgottenIds,
    /// A driver takes a command for unsent that was not answered in time.
    RetriedCommands,
    /// Somebody says that a gateway which did not answer told its agents a command.
    PretendedCommands,
    /// The poll after one that was told a command is told it again.
    RepeatedPolls,
}

impl Variant {
    /// Every broken one.
    pub const BROKEN: [Variant; 18] = [
        Variant::NoFencing,
        Variant::AckBeforePersist,
        Variant::LostCommits,
        Variant::ForgetfulLedger,
        Variant::NoOutbox,
        Variant::StaleReads,
        Variant::RolledBackIntent,
        Variant::WrongBodies,
        Variant::DeadAnswer,
        Variant::PresenceAhead,
        Variant::ForgedEpochs,
        Variant::HolesInTheLog,
        Variant::RepeatedIds,
        Variant::StoppedClocks,
        Variant::ForgottenIds,
        Variant::RetriedCommands,
        Variant::PretendedCommands,
        Variant::RepeatedPolls,
    ];

    /// Those that let a stale owner through.
    pub const FENCING: [Variant; 3] =
        [Variant::NoFencing, Variant::ForgedEpochs, Variant::RepeatedIds];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::BROKEN.into_iter().find(|variant| format!("{variant:?}") == name)
    }

    pub(crate) fn store(
        self,
        which: Which,
        inner: Arc<dyn Store>,
        world: &Arc<World>,
        process: &Process,
    ) -> Arc<dyn Store> {
        let breaks = match self {
            Self::NoFencing
            | Self::AckBeforePersist
            | Self::LostCommits
            | Self::NoOutbox
            | Self::StaleReads => which == Which::Records,
            Self::ForgetfulLedger | Self::RolledBackIntent | Self::WrongBodies => {
                which == Which::Ledger
            }
            _ => false,
        };
        if !breaks {
            return inner;
        }
        let dice = world.dice(&format!("broken/{}/{which:?}", process.name));
        let (how, world, old) = (self, world.clone(), Default::default());
        Arc::new(stores::Broken { how, inner, world, dice, old })
    }

    pub(crate) fn bus(
        self,
        inner: Arc<dyn Bus>,
        world: &Arc<World>,
        process: &Process,
    ) -> Arc<dyn Bus> {
        match self {
            Self::DeadAnswer | Self::PresenceAhead | Self::ForgedEpochs | Self::HolesInTheLog => {
                let dice = world.dice(&format!("broken/{}/bus", process.name));
                Arc::new(buses::Broken { how: self, inner, world: world.clone(), dice })
            }
            Self::ForgottenIds
            | Self::RetriedCommands
            | Self::PretendedCommands
            | Self::RepeatedPolls => {
                let dice = world.dice(&format!("broken/{}/commands", process.name));
                Arc::new(commands::Broken { how: self, inner, dice, again: Default::default() })
            }
            _ => inner,
        }
    }

    pub(crate) fn clock(self, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        match self {
            Self::StoppedClocks => Arc::new(Stopped(clock.now())),
            _ => clock,
        }
    }

    pub(crate) fn random(self, random: Arc<dyn Random>) -> Arc<dyn Random> {
        match self {
            Self::RepeatedIds => Arc::new(Stuck),
            _ => random,
        }
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Randomness that is none.
#[derive(Debug)]
struct Stuck;

impl Random for Stuck {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}
