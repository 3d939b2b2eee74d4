//! Every bound of the store, with unit and reason.

use std::time::Duration;

/// Entries in a page of a scan: enough to hide the cost of the call.
pub(crate) const PAGE_ENTRIES: usize = 512;
/// Bytes of values in a page of a scan; the entry that crosses it is the page's last.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// How long presence of a holder that is not heard of any more is kept: a takeover after that
/// asks for a full report, which is right after so long.
pub(crate) const PRESENCE_TTL: Duration = Duration::from_secs(24 * 3600);

/// redb: bytes of pages kept in memory, against its own default of 1 GiB.
pub(crate) const CACHE_BYTES: usize = 256 << 20;
/// redb: bytes of writes waiting for the writer.
pub(crate) const QUEUE_BYTES: usize = 32 << 20;
/// redb: what the smallest write counts for in that queue, bytes; their ratio is the queue's
/// length.
pub(crate) const QUEUE_UNIT: usize = 4 << 10;
/// redb: calls answered by one flush to disk. Its cost per call falls until about here.
pub(crate) const GROUP_MAX: usize = 256;
/// redb: how long a write may wait for the queue and the disk together. A disk that needs this
/// long is as good as gone.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// redb: how long presence and settled events may live in memory only.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Redis: until a connection stands.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Redis: until a command that was sent is answered.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Redis: a call as a whole, waiting for a connection included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Redis: how long sent bytes may stay unacknowledged before the connection is given up; without
/// it a silent network keeps a dead connection for a quarter of an hour.
pub(crate) const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(5);
/// Redis: pause between attempts to connect, at first and at most.
pub(crate) const RECONNECT_DELAY: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(250));
/// Redis: least time between two connections that replace each other because the server refused.
pub(crate) const RENEWAL_PAUSE: Duration = Duration::from_secs(1);
/// Redis: connections of their own for loading functions and for start-up checks.
pub(crate) const POOL_MAX: usize = 2;
/// Redis: entries asked for per page of a scan. Redis promises no bound in bytes, so fewer.
pub(crate) const HSCAN_COUNT: usize = 128;

/// Places for values that could not be read: a newer one takes the place of an older.
pub(crate) const QUARANTINE_SLOTS: u64 = 256;
/// Bytes kept of each: with all places taken, 16 MiB.
pub(crate) const QUARANTINE_BYTES_MAX: usize = 64 << 10;
/// Values remembered as quarantined, so that each is told of once.
pub(crate) const QUARANTINE_KNOWN_MAX: usize = 4096;

/// Bytes of one part of a backup: the largest config there may be, and what is around it.
pub(crate) const BACKUP_PART_MAX: usize = 72 << 20;
