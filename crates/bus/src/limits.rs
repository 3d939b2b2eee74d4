//! Every bound of the bus, with unit and reason.

use std::time::Duration;

/// Room that an envelope needs around its body, in bytes.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 1 << 10;
/// Bodies above this many bytes cross as parcels even where the bus would take them, so that one
/// large message does not sit in front of many small ones.
pub(crate) const INLINE_BYTES_MAX: usize = 512 << 10;
/// Largest chunk of a parcel fetched at once, in bytes.
pub(crate) const CHUNK_BYTES: u32 = 256 << 10;
/// Largest message taken, in bytes, parcels included: the largest OpAMP message and what
/// surrounds it.
pub(crate) const MESSAGE_BYTES_MAX: usize = (64 << 20) + (1 << 20);
/// Most bytes of bodies waiting to be fetched from one process: four of the largest messages. A
/// sender beyond it gets `TooLarge` and treats the message as not sent.
pub(crate) const HELD_BYTES_MAX: usize = 256 << 20;
/// How long one chunk may take.
pub(crate) const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a parcel waits when its message had no deadline.
pub(crate) const PARCEL_TTL: Duration = Duration::from_secs(30);
/// Fetches of parcels that may wait here.
pub(crate) const FETCHES_MAX: usize = 1024;

/// Bytes of events kept in process; older ones are gone and readers behind them start over.
pub(crate) const LOG_BYTES_MAX: usize = 64 << 20;
/// Ids remembered in process for dropping repeated entries.
pub(crate) const LOG_IDS_MAX: usize = 65_536;
/// Entries that a reader of the log may have waiting.
pub(crate) const READER_CAPACITY: usize = 256;
/// Largest payload in process, in bytes: as NATS has it, so that the same messages travel as
/// parcels on either bus.
pub(crate) const PAYLOAD_MAX: usize = 1 << 20;

/// How long NATS may take to accept a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long NATS may take to accept a message: callers are told within 2 s that it is away.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_millis(1500);
/// Answers waiting to be sent.
pub(crate) const REPLIES_MAX: usize = 8192;
/// How long JetStream may take to answer.
pub(crate) const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// Appends sent before their acknowledgements are awaited.
pub(crate) const APPEND_WINDOW: usize = 256;
/// Bytes of events kept on JetStream.
pub(crate) const LOG_STREAM_BYTES_MAX: i64 = 1 << 30;
/// Age of events kept on JetStream.
pub(crate) const LOG_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long JetStream remembers ids of entries: longer than any sweep takes to find what a
/// crash left behind.
pub(crate) const LOG_DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
