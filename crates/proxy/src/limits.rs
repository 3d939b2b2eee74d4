//! Every bound of the proxy, with unit and reason.

use std::time::Duration;

/// Connections at once: below the files that a process may open, at two each.
pub(crate) const CONNECTIONS_MAX: usize = 9_000;
/// Bytes held per connection and direction; beyond them the sender has to wait.
pub(crate) const HELD_BYTES_MAX: usize = 256 << 10;
/// Bytes read at once, on the stack.
pub(crate) const READ_BYTES: usize = 16 << 10;
/// How long an upstream may take to accept.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after nobody could be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Writes a second under a bandwidth: so often a slow connection gets a piece.
pub(crate) const WRITES_PER_SECOND: u64 = 20;
