//! What happened in a run, as facts. The invariants are decided over it once the run is over.

use std::collections::BTreeSet;

use model::assign::Assignments;
use model::{AgentRecord, ConfigHash};
use opamp::InstanceUid;
use opamp::v1::AgentToServer;
use store::{Key, Presence, Table, Write, tables};

use crate::shelf::Which;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Records written, in the store's order.
    pub(crate) commits: Vec<Commit>,
    /// Decisions written, in the store's order.
    pub(crate) decisions: Vec<Decision>,
    /// Reports that were accepted.
    pub(crate) answers: Vec<Answer>,
    /// What gateways flushed to sockets.
    pub(crate) flushed: BTreeSet<(InstanceUid, Vec<u8>)>,
    /// Presence that was stored.
    pub(crate) presence: Vec<(u64, Presence)>,
    /// Times at which records were lost.
    pub(crate) losses: Vec<u64>,
    /// What agents were told and did.
    pub(crate) acts: Vec<Act>,
    /// What operators asked for.
    pub(crate) orders: Vec<Order>,
    /// Commands that they gave, whatever was said to that.
    pub(crate) tells: Vec<Tell>,
    pub(crate) session_reports: u64,
    pub(crate) presence_messages: u64,
    pub(crate) records_written: u64,
}

/// A record was written.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) at: u64,
    pub(crate) by: String,
    pub(crate) uid: InstanceUid,
    /// `None` if it was deleted.
    pub(crate) record: Option<AgentRecord>,
    /// Offers that sockets had taken by then, if the write is about one that was pushed.
    pub(crate) pushed: Option<bool>,
}

/// The assignments were written.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) at: u64,
    pub(crate) number: u64,
    pub(crate) assignments: Assignments,
}

/// A report was accepted.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) at: u64,
    pub(crate) uid: InstanceUid,
    pub(crate) epoch: u64,
    pub(crate) n: u64,
    pub(crate) message: AgentToServer,
    /// What was stored when the answer left.
    pub(crate) stored: Option<AgentRecord>,
}

/// Something happened at an agent.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) at: u64,
    pub(crate) agent: usize,
    pub(crate) what: What,
}

/// What happened there.
#[derive(Debug)]
pub(crate) enum What {
    /// It sent a message.
    Sent { uid: InstanceUid, sequence_num: u64 },
    /// It was offered a config; `whole` if the body is what the hash says.
    Offered { hash: Vec<u8>, whole: bool },
    /// It took the config.
    Applied { hash: Vec<u8> },
    /// It was told a command, as the agent of this uid.
    Told { uid: InstanceUid, what: Word },
    /// Its connection was ended by the other side, and by nothing that was done to either.
    Dropped { gateway: String, reason: String },
}

/// What a command looks like to an agent. Only one's own words say which command they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Restart,
    /// It is to report its full state; the server asks for that for reasons of its own, too.
    Refresh,
    /// A custom message with the number of the command in it.
    Number(u64),
}

/// An operator's order and what became of it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) at: u64,
    pub(crate) took_ms: u64,
    pub(crate) wish: Wish,
    /// `None` if its fate is unknown; false if it was refused and surely not done.
    pub(crate) done: Option<bool>,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A config has a revision of this content.
    Config { name: String, text: String },
    /// An assignment says this.
    Assign { name: String, selector: String, priority: i64, config: String },
    /// An assignment is gone.
    Unassign { name: String },
    /// No offers go out.
    Hold,
    /// Offers go out again.
    Resume,
    /// An agent has this label.
    Label { agent: String, value: String },
    /// Agents are told something once.
    Tell(Tell),
    /// The command of this number is taken back where it was not sent.
    Recall { number: u64 },
}

/// A command as an operator gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tell {
    /// No two commands of a run have the same.
    pub(crate) number: u64,
    pub(crate) what: Word,
    pub(crate) agents: Vec<InstanceUid>,
    /// When it expires, milliseconds since the Unix epoch.
    pub(crate) expires: u64,
    pub(crate) queue: bool,
    /// How long its effect is waited for, in milliseconds.
    pub(crate) confirm_ms: u64,
}

impl History {
    /// A store says that it wrote something. Returns that in words.
    pub(crate) fn committed(&mut self, at: u64, which: Which, by: &str, write: &Write) -> String {
        match (which, write.key.table) {
            (Which::Records, Table::Agents) => return self.record_committed(at, by, write),
            (Which::Ledger, Table::Intent) => {
                let read = tables::intent::decode(&Key::intent(), &write.value);
                if let Ok(read) = read {
                    let (number, assignments) = (write.version.0, read.value);
                    self.decisions.push(Decision { at, number, assignments });
                }
            }
            _ => {}
        }
        String::new()
    }

    fn record_committed(&mut self, at: u64, by: &str, write: &Write) -> String {
        let Ok(uid) = InstanceUid::try_from(&write.key.id[..]) else { return String::new() };
        self.records_written += 1;
        let record = tables::agents::decode(&write.key, &write.value).ok().map(|read| read.value);
        let delivered = record.as_ref().and_then(|record| record.delivered.as_ref());
        let pushed = delivered.filter(|delivered| delivered.n == 0 && delivered.epoch > 0);
        let pushed = pushed.map(|delivered| self.was_flushed(&uid, &delivered.hash));
        let said = record.as_ref().map_or_else(|| "deleted".to_owned(), in_words);
        self.commits.push(Commit { at, by: by.to_owned(), uid, record, pushed });
        said
    }

    fn was_flushed(&self, uid: &InstanceUid, hash: &ConfigHash) -> bool {
        self.flushed.contains(&(*uid, hash.0.to_vec()))
    }

    /// A store is told who spoke.
    pub(crate) fn present(&mut self, at: u64, _: &str, seen: &[Presence]) {
        self.presence.extend(seen.iter().map(|seen| (at, *seen)));
    }
}

/// What a person needs to see of a record.
fn in_words(record: &AgentRecord) -> String {
    let health = record.reported.health.as_ref().map_or("?", |health| &health.status);
    let owner = record.owner.as_ref().map_or("nobody", |owner| owner.gateway.as_str());
    let offered = record.offered.config.as_ref().map(|config| (&*config.config, config.revision));
    let delivered = record.delivered.as_ref().map(|delivered| (delivered.epoch, delivered.n));
    format!(
        "epoch {} n {} seq {:?} {owner} {health} polls {} wanted {} offered {offered:?} by {} \
         delivered {delivered:?}",
        record.epoch,
        record.n,
        record.sequence_num,
        record.polls,
        record.full_state.wanted,
        record.offered.decision,
    )
}
