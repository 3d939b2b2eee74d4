//! Every bound of the agent, with unit and reason.

use std::time::Duration;

/// Largest message taken, in bytes (specification: 64 MiB recommended).
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long a connection and its handshake may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to answer a poll.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a download may bring nothing.
pub(crate) const DOWNLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a download is taken up again where it broke off.
pub(crate) const DOWNLOAD_TRIES: u32 = 5;
/// How long a connection that was offered has until its server answered.
pub(crate) const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to answer a close.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between polls of an agent without heartbeats, in milliseconds.
pub(crate) const POLL_MS: u64 = 30_000;
/// First pause before connecting again, in milliseconds; doubled each time, up to the last.
pub(crate) const RETRY_FIRST_MS: u64 = 50;
/// Longest pause before connecting again, in milliseconds.
pub(crate) const RETRY_LAST_MS: u64 = 30_000;
/// Custom messages that wait to be sent; what comes on top of them is not answered.
pub(crate) const WORDS_MAX: usize = 256;
/// Entries a ledger keeps; counters go on beyond it.
pub(crate) const LEDGER_ENTRIES_MAX: usize = 1024;
/// Reports whose answers an agent waits for, in messages; older ones count as never answered.
pub(crate) const UNPROVEN_MAX: usize = 64;
