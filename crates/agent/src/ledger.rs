//! What an agent sent, received and applied: its side of the story, for tests to compare.

use std::collections::VecDeque;

use opamp::v1::CustomMessage;

use crate::limits::LEDGER_ENTRIES_MAX;

/// The agent's record of its own life. Counters are complete; entries are the newest ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Messages sent.
    pub sent: u64,
    /// Of these, with nothing in them but uid, number and capabilities.
    pub heartbeats: u64,
    /// Of these, with everything.
    pub full_reports: u64,
    /// Messages received.
    pub received: u64,
    /// Requests for full state.
    pub full_state_requests: u64,
    /// Configs offered.
    pub offers: u64,
    /// Of these, the same as the one it had or was applying.
    pub repeated_offers: u64,
    /// Connection settings offered.
    pub settings_offers: u64,
    /// Offers of packages heard.
    pub package_offers: u64,
    /// Of these, repeats of what it has or is at.
    pub repeated_packages: u64,
    /// Of these, the same as the ones it looked at last.
    pub repeated_settings: u64,
    /// Restart commands.
    pub restarts: u64,
    /// Custom messages of capabilities that it declares.
    pub custom_messages: u64,
    /// Custom messages of others, which it drops.
    pub foreign_messages: u64,
    /// Error responses.
    pub errors: u64,
    /// Connections made.
    pub connections: u64,
    /// Longest time from a connection's end to the first answer on another, in milliseconds.
    pub away_ms_max: u64,
    entries: Option<VecDeque<Entry>>,
}

/// Something that happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A message went out with this number.
    Sent {
        /// Its sequence number.
        sequence_num: u64,
        /// It held every part.
        full: bool,
    },
    /// A config was offered.
    Offered(Vec<u8>),
    /// A config was applied, or why not.
    Applied(Vec<u8>, Result<(), String>),
    /// Connection settings were offered, under this hash.
    SettingsOffered(Vec<u8>),
    /// Packages of this hash were offered.
    PackagesOffered(Vec<u8>),
    /// They are in force, or why not.
    SettingsApplied(Vec<u8>, Result<(), String>),
    /// A new uid was given.
    Identified([u8; 16]),
    /// A custom message came.
    Told(CustomMessage),
    /// The server answered with an error.
    Error(String),
}

impl Ledger {
    /// A ledger that keeps entries, or counters alone.
    pub fn new(entries: bool) -> Self {
        Self { entries: entries.then(VecDeque::new), ..Self::default() }
    }

    /// The newest entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// Takes the entries out, oldest first.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.entries.as_mut().map(|entries| entries.drain(..).collect()).unwrap_or_default()
    }

    /// Hashes applied, in order.
    pub fn applied(&self) -> Vec<&[u8]> {
        self.entries()
            .filter_map(|entry| match entry {
                Entry::Applied(hash, Ok(())) => Some(&hash[..]),
                _ => None,
            })
            .collect()
    }

    /// Data of the custom messages of one type that came, in order.
    pub fn told<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.entries().filter_map(move |entry| match entry {
            Entry::Told(message) if message.r#type == kind => Some(&message.data[..]),
            _ => None,
        })
    }

    pub(crate) fn note(&mut self, entry: impl FnOnce() -> Entry) {
        let Some(entries) = &mut self.entries else { return };
        if entries.len() == LEDGER_ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry());
    }
}
