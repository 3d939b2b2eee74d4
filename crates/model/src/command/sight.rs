//! What is known of an agent when one looks whether a command goes on.

use crate::{GatewayId, Timestamp};

/// An agent as a command sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// How it can be told something now.
    pub way: Way,
    /// The session that its record names, whether or not it can be reached.
    pub session: Option<(GatewayId, u64)>,
    /// The newest epoch that it had.
    pub epoch: u64,
    /// Counts of what shows that commands had an effect.
    pub signs: Signs,
    /// How far this command is in the agent's record.
    pub progress: Option<Progress>,
    /// The agent goes by its new uid.
    pub renamed: bool,
    /// What it answered to a custom message.
    pub reply: Option<Reply>,
}

/// How an agent can be told something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Way {
    /// It holds a session at a gateway.
    Session {
        /// Which gateway.
        gateway: GatewayId,
        /// Which session.
        epoch: u64,
    },
    /// It polls: what waits in its record is in the reply to its next poll.
    Record,
    /// Not now.
    #[default]
    None,
}

/// Signs of an agent's doings, counted in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// It restarted.
    pub restarts: u64,
    /// When it was last seen to have done so.
    pub restarted: Timestamp,
    /// It reported its full state.
    pub full_reports: u64,
    /// Version of the record: what the agent says later comes with a higher one.
    pub version: u64,
}

/// An agent's answer to a custom message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its data; empty if they are more than is kept.
    pub data: Vec<u8>,
    /// How many bytes of data there were.
    pub size: u64,
    /// When it was taken.
    pub at: Timestamp,
    /// Version of the agent's record that took it.
    pub version: u64,
}

/// How far a command is in an agent's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits for a poll.
    Waiting,
    /// It is in the reply to a poll; nobody knows yet whether that arrived.
    Replied,
    /// The next poll came.
    Delivered,
    /// The agent restarted since it was told.
    Restarted,
    /// The agent reported its full state since it was told.
    Reported,
    /// No poll came in time. It was not told.
    Expired,
    /// The agent does not poll any more. It was not told.
    Returned,
}

/// Whether somebody waits for the answer to a command that was routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand<'a> {
    /// An answer comes, or a word that none came.
    Waits,
    /// The record took it, as far as is known.
    Took,
    /// Nobody: who asked is gone. Its name.
    Lost(&'a str),
}
