//! Signs of life of one connection: when what was last heard, begun and written, and what follows.
//! Pure but for atomics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Limits;

/// When what was last heard and begun, in milliseconds of the process's life; 0 is never.
#[derive(Debug)]
pub(crate) struct Vitals {
    heard: AtomicU64,
    pinged: AtomicU64,
    writing: AtomicU64,
    message: AtomicU64,
    /// The first message is awaited since then.
    opening: AtomicU64,
    closing: AtomicU64,
    paused: AtomicBool,
}

/// What a look at the vitals asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Nothing was heard for a while.
    Ping,
    /// A close waited long enough for replies in flight.
    Hurry,
    /// A message takes too long to arrive, or the first one to begin.
    Expel,
    /// The peer is gone or does not read: what it was late with.
    Cut(&'static str),
}

impl Vitals {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            heard: AtomicU64::new(now),
            pinged: AtomicU64::new(0),
            writing: AtomicU64::new(0),
            message: AtomicU64::new(0),
            opening: AtomicU64::new(now),
            closing: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    pub(crate) fn heard(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
        self.pinged.store(0, Ordering::Relaxed);
    }

    /// The socket took bytes now, or has nothing to write any more.
    pub(crate) fn writing_since(&self, now: Option<u64>) {
        self.writing.store(now.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn writing_at_least_since(&self, now: u64) {
        set_if_never(&self.writing, now);
    }

    /// Whether the socket has taken nothing for so long.
    pub(crate) fn is_behind(&self, now: u64, by: std::time::Duration) -> bool {
        past(&self.writing, now, by)
    }

    /// Whether something waits to be written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn closing_at_least_since(&self, now: u64) {
        set_if_never(&self.closing, now);
    }

    /// A whole message arrived.
    pub(crate) fn spoken(&self) {
        self.opening.store(0, Ordering::Relaxed);
    }

    /// A message is arriving, or none is.
    pub(crate) fn message(&self, now: u64, idle: bool) {
        if idle {
            self.message.store(0, Ordering::Relaxed);
        } else {
            set_if_never(&self.message, now);
        }
    }

    /// Nothing is read for now, so nothing can be heard; or something is again.
    pub(crate) fn paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// What is to be done at this time. A ping asked for counts as sent.
    pub(crate) fn judge(&self, now: u64, limits: &Limits) -> Verdict {
        let past = |since, limit| past(since, now, limit);
        if past(&self.closing, limits.close_grace + limits.close_deadline) {
            return Verdict::Cut("closing");
        }
        if past(&self.writing, limits.write_deadline) {
            return Verdict::Cut("writing");
        }
        if past(&self.closing, limits.close_grace) {
            return Verdict::Hurry;
        }
        if self.paused.load(Ordering::Relaxed) {
            return Verdict::Fine;
        }
        if past(&self.pinged, limits.pong_deadline) {
            return Verdict::Cut("pong");
        }
        let mute = past(&self.opening, limits.opening_deadline);
        if mute || past(&self.message, limits.message_deadline) {
            return Verdict::Expel;
        }
        let unpinged = self.pinged.load(Ordering::Relaxed) == 0;
        if unpinged && past(&self.heard, limits.ping_interval) {
            self.pinged.store(now, Ordering::Relaxed);
            return Verdict::Ping;
        }
        Verdict::Fine
    }
}

fn past(since: &AtomicU64, now: u64, limit: std::time::Duration) -> bool {
    let since = since.load(Ordering::Relaxed);
    since != 0 && u128::from(now.saturating_sub(since)) >= limit.as_millis()
}

fn set_if_never(at: &AtomicU64, now: u64) {
    // Another time there is the earlier one.
    let _ = at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_peers_are_pinged_once_and_then_cut() {
        let limits = Limits::default();
        let vitals = Vitals::new(1);
        vitals.spoken();
        assert_eq!(vitals.judge(30_000, &limits), Verdict::Fine);
        assert_eq!(vitals.judge(30_001, &limits), Verdict::Ping);
        assert_eq!(vitals.judge(50_000, &limits), Verdict::Fine);
        assert_eq!(vitals.judge(50_001, &limits), Verdict::Cut("pong"));
        vitals.heard(50_002);
        assert_eq!(vitals.judge(50_003, &limits), Verdict::Fine);
    }

    #[test]
    fn writes_messages_and_closes_have_deadlines() {
        let limits = Limits::default();
        let vitals = Vitals::new(1);
        assert_eq!(vitals.judge(30_001, &limits), Verdict::Expel, "says nothing");
        vitals.spoken();
        vitals.writing_at_least_since(1);
        vitals.writing_at_least_since(9_000);
        assert_eq!(vitals.judge(30_001, &limits), Verdict::Cut("writing"));
        vitals.writing_since(None);
        vitals.message(1, false);
        vitals.heard(120_000);
        assert_eq!(vitals.judge(120_001, &limits), Verdict::Expel);
        vitals.message(120_001, true);
        vitals.closing_at_least_since(120_001);
        assert_eq!(vitals.judge(121_001, &limits), Verdict::Hurry);
        assert_eq!(vitals.judge(126_001, &limits), Verdict::Cut("closing"));
    }
}
