//! What went over a bus, counted in one place for every backend: as metrics, and as plain
//! numbers for whoever must prove how few messages something costs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages sent through one bus value and its clones, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages published.
    pub publishes: u64,
    /// Requests sent, fetches of parcels included.
    pub requests: u64,
    /// Answers sent.
    pub replies: u64,
    /// Entries appended to the log, repeated ones included.
    pub appends: u64,
    /// Messages received and dropped because the subscription's queue was full.
    pub dropped: u64,
}

impl Counts {
    /// Everything that was sent.
    pub fn sent(&self) -> u64 {
        self.publishes + self.requests + self.replies + self.appends
    }

    /// What has come since an earlier count.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            publishes: self.publishes - earlier.publishes,
            requests: self.requests - earlier.requests,
            replies: self.replies - earlier.replies,
            appends: self.appends - earlier.appends,
            dropped: self.dropped - earlier.dropped,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    publishes: AtomicU64,
    requests: AtomicU64,
    replies: AtomicU64,
    appends: AtomicU64,
    dropped: AtomicU64,
}

impl Traffic {
    pub(crate) fn published(&self) {
        sent(&self.publishes, "publish", 1);
    }

    pub(crate) fn requested(&self) {
        sent(&self.requests, "request", 1);
    }

    pub(crate) fn replied(&self) {
        sent(&self.replies, "reply", 1);
    }

    pub(crate) fn appended(&self, entries: usize) {
        sent(&self.appends, "append", entries as u64);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("muster_bus_dropped_total").increment(1);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            publishes: read(&self.publishes),
            requests: read(&self.requests),
            replies: read(&self.replies),
            appends: read(&self.appends),
            dropped: read(&self.dropped),
        }
    }
}

fn sent(number: &AtomicU64, kind: &'static str, messages: u64) {
    number.fetch_add(messages, Ordering::Relaxed);
    metrics::counter!("muster_bus_messages_total", "kind" => kind).increment(messages);
}
