//! Every bound of the binary itself, with its unit and its reason.

use std::time::Duration;

/// How long gateways may take to close their agents' sessions in paced batches.
pub(crate) const GATEWAY_DRAIN: Duration = Duration::from_secs(18);
/// What a stage gets beyond its roles' own deadlines before it is cut off.
pub(crate) const CUT_OFF_GRACE: Duration = Duration::from_secs(1);
/// Files that are kept from agents' connections: for stores, the bus, operators, probes.
pub(crate) const FILES_KEPT: usize = 96;
/// How long workers and control may take to finish what they hold. Together with the gateways'
/// time this stays under the 30 s that Kubernetes waits before it kills.
pub(crate) const WORKER_DRAIN: Duration = Duration::from_secs(8);
/// How long what is left of the runtime may take at the very end.
pub(crate) const RUNTIME_END: Duration = Duration::from_secs(1);
/// How long connecting to the bus and opening the stores may take at the start.
pub(crate) const BACKENDS_START: Duration = Duration::from_secs(30);
/// How often histograms are folded, so that they stay small when nobody scrapes.
pub(crate) const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How often a process says that it is there: several times within what control waits for it.
pub(crate) const STATUS_INTERVAL: Duration = Duration::from_secs(3);
/// How long saying so may take; twice that, at the very end, stays within the runtime's second.
pub(crate) const STATUS_PUBLISH: Duration = Duration::from_millis(400);
/// How long spans that are not yet exported may hold up the end.
pub(crate) const SPANS_FLUSH: Duration = Duration::from_secs(3);
/// How long one call of the command line may take, unless told otherwise.
pub(crate) const CALL_SECS: u64 = 10;
/// How long the command line tries to reach the server.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long a watch may hear nothing before it connects anew: the server speaks every 10 s.
pub(crate) const WATCH_SILENCE: Duration = Duration::from_secs(35);
/// Entries from before that a trace asks for when it goes on: as many as there may be.
pub(crate) const TRACE_RESUME: i32 = 1000;
/// First pause before a watch connects anew; doubled each time.
pub(crate) const WATCH_RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest of these pauses.
pub(crate) const WATCH_RETRY_MAX: Duration = Duration::from_secs(5);
/// How long comparing two files may look for the shortest difference; then any will do.
pub(crate) const DIFF: Duration = Duration::from_secs(3);
/// Agents asked for at once: the most the server sends in one page.
pub(crate) const PAGE_SIZE: i32 = 1000;
/// Largest answer the command line takes: an agent with everything it reported.
pub(crate) const ANSWER_BYTES_MAX: usize = 68 << 20;
/// Pause between attempts to reach a service that is not there yet.
pub(crate) const BACKENDS_RETRY: Duration = Duration::from_millis(500);
/// Agents a demo may start: each is a task and a socket in this one process.
pub(crate) const DEMO_AGENTS_MAX: u16 = 1000;
/// How often a demo's agents speak: often enough to watch.
pub(crate) const DEMO_HEARTBEAT: Duration = Duration::from_secs(10);
/// Bytes of a file with a password, credentials or certificates: all authorities there are.
pub(crate) const SECRET_BYTES_MAX: u64 = 1 << 20;
