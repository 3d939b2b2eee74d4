//! The size of a run.

use std::time::Duration;

/// When the simulated world begins, milliseconds since the Unix epoch.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;
/// How long things are broken.
pub(crate) const CHAOS: Duration = Duration::from_secs(45);
/// How long the world may take to be right again, at most: two rounds of agents' waits, leases,
/// and looks of the reconciler.
pub(crate) const HEAL_MAX: Duration = Duration::from_secs(150);
/// How often it is looked whether the world is right again.
pub(crate) const HEAL_LOOK: Duration = Duration::from_secs(5);
/// Longer than an agent is ever quiet.
pub(crate) const SETTLE: Duration = Duration::from_secs(12);
/// How long silence is listened to.
pub(crate) const QUIET: Duration = Duration::from_secs(15);
/// Shortest time between two faults, and the most that is added to it, in milliseconds.
pub(crate) const FAULT_PAUSE_MS: (u64, u64) = (300, 5_000);
/// Bytes under way in one direction of a connection.
pub(crate) const WIRE_BYTES: usize = 64 << 10;
/// How long an agent waits between attempts to connect, in milliseconds.
pub(crate) const RECONNECT_MS: (u64, u64) = (200, 2_500);
/// How late a very late message of the bus is, in milliseconds.
pub(crate) const LATE_MS: (u64, u64) = (1_000, 30_000);
/// What an agent says when nothing happens, in milliseconds.
pub(crate) const HEARTBEAT_MS: (u64, u64) = (2_000, 9_000);
/// Connections waiting to be accepted.
pub(crate) const BACKLOG: usize = 64;
/// Trace lines kept for a person to read.
pub(crate) const TRACE_LINES_MAX: usize = 2_000_000;
