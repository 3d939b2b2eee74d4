//! Every bound of the bus, with unit and reason.

use std::time::Duration;

/// Room that an envelope needs around its body, in bytes.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 1 << 10;
/// Vendor trace state that travels along, in bytes: what W3C asks to be passed on. Longer ones
/// are left out, so that an envelope keeps within its room.
pub(crate) const TRACE_STATE_BYTES_MAX: usize = 512;
/// Smallest payload limit that a bus may have, in bytes: below it parcels would cross in crumbs.
pub(crate) const PAYLOAD_MIN: usize = 16 << 10;
/// Bodies above this many bytes cross as parcels even where the bus would take them, so that one
/// large message does not sit in front of many small ones.
pub(crate) const INLINE_BYTES_MAX: usize = 512 << 10;
/// Largest chunk of a parcel fetched at once, in bytes.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Largest message taken, in bytes, parcels included: the largest OpAMP message and what
/// surrounds it.
pub(crate) const MESSAGE_BYTES_MAX: usize = (64 << 20) + (1 << 20);
/// Most bytes of bodies waiting to be fetched from one process: four of the largest messages. A
/// sender beyond it is told that the bus is unavailable.
pub(crate) const HELD_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// How long one chunk may take.
pub(crate) const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a parcel waits when its message had no deadline, and how long fetching one may take.
pub(crate) const PARCEL_TTL: Duration = Duration::from_secs(30);
/// How often parcels that nobody fetched are looked for.
pub(crate) const PARCEL_SWEEP: Duration = Duration::from_secs(5);
/// Fetches of parcels that may wait here, in messages.
pub(crate) const FETCHES_MAX: usize = 1024;
/// Parcels one inbox fetches at once: enough that one large message does not hold up another.
pub(crate) const PARCELS_AT_ONCE: usize = 8;
/// Bytes of the parcels one inbox fetches at once; a single one is always fetched.
pub(crate) const PARCEL_BYTES_AT_ONCE: usize = 2 * MESSAGE_BYTES_MAX;
/// Parcels one inbox has yet to fetch. They wait at their senders; here are only their handles.
pub(crate) const PARCELS_WAITING_MAX: usize = 1024;

/// Bytes of messages that may wait in one subscription, beside its bound in messages.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// Bytes of events kept in process; older ones are gone and readers behind them start over.
pub(crate) const LOG_BYTES_MAX: usize = 64 << 20;
/// What keeping one entry in process costs beside its payload, in bytes.
pub(crate) const LOG_ENTRY_BYTES: usize = 64;
/// Ids remembered in process for dropping repeated entries.
pub(crate) const LOG_IDS_MAX: usize = 65_536;
/// Entries that a reader of the log may have waiting.
pub(crate) const READER_CAPACITY: usize = 256;
/// Largest payload in process, in bytes: as NATS has it, so that the same messages travel as
/// parcels on either bus.
pub(crate) const PAYLOAD_MAX: usize = 1 << 20;

/// How long NATS may take to accept the first connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between attempts at the first connection.
pub(crate) const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between attempts to get a lost connection back.
pub(crate) const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often NATS is asked whether it is there. After the third unanswered time it is not.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long NATS may take to accept a message: callers are told within 2 s that it is away.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_millis(1500);
/// Messages the NATS client may have waiting for one subscription before the subscription's own
/// queue takes or drops them: what one read of the socket may bring.
pub(crate) const CLIENT_QUEUE: usize = 16_384;

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
/// Entries asked of JetStream at once.
pub(crate) const LOG_BATCH: usize = 256;
/// How long JetStream may hold a question for entries. A reader whose server went silent finds
/// out after this and the client's grace of 5 s.
pub(crate) const LOG_BATCH_EXPIRES: Duration = Duration::from_secs(5);
/// How long a reader tries to go on after its connection or its place in JetStream was lost.
pub(crate) const LOG_LOST_AFTER: Duration = Duration::from_secs(30);
/// Pause between those tries.
pub(crate) const LOG_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long JetStream keeps a reader's place when nobody asks for entries.
pub(crate) const LOG_READER_IDLE: Duration = Duration::from_secs(30);
