//! Taps: who listens to one agent. Each has a queue bounded in bytes and ends by itself when nobody
//! asks for it any more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::v1::TapDirection;
use opamp::InstanceUid;
use tokio::sync::Notify;

use super::entry::{Header, Kept, What};
use crate::Limits;

/// All taps of a gateway.
#[derive(Debug)]
pub(super) struct Taps {
    taps: Mutex<Vec<Tap>>,
    /// How many, for who only wants to know whether there are any.
    count: AtomicUsize,
    max: usize,
    bytes_max: usize,
    answer_bytes_max: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Tap {
    id: u64,
    of: Wanted,
    queue: VecDeque<Kept>,
    bytes: usize,
    /// Entries dropped since the last answer.
    lost: u64,
    /// The last answer, until the next question shows that it arrived.
    told: Vec<Kept>,
    told_lost: u64,
    /// When it was asked for last.
    asked_ms: u64,
    news: Arc<Notify>,
}

/// What a tap listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) uid: InstanceUid,
    pub(super) direction: TapDirection,
}

/// What became of the wish to listen.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is new: what was before is to be brought.
    New(Arc<Notify>),
    Known(Arc<Notify>),
    TooMany,
}

impl Wanted {
    pub(super) fn takes(&self, header: &Header) -> bool {
        let direction = match header.what {
            What::In => self.direction != TapDirection::Out,
            What::Out => self.direction != TapDirection::In,
            What::Fact(_) => true,
        };
        direction && header.uid == self.uid
    }
}

impl Taps {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            taps: Mutex::default(),
            count: AtomicUsize::new(0),
            max: limits.taps_max,
            bytes_max: limits.tap_bytes_max,
            answer_bytes_max: limits.tap_answer_bytes_max,
            idle: limits.tap_idle,
        }
    }

    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Gives an entry to who wants it.
    pub(super) fn offer(&self, header: &Header, parts: [&[u8]; 2]) {
        for tap in self.taps().iter_mut().filter(|tap| tap.of.takes(header)) {
            tap.push(Kept::of(header, parts), self.bytes_max);
            tap.news.notify_one();
        }
    }

    /// The tap of this id: the one that is there, or a new one.
    pub(super) fn open(&self, id: u64, of: Wanted, now_ms: u64) -> Opened {
        self.sweep(now_ms);
        let mut taps = self.taps();
        if let Some(tap) = taps.iter_mut().find(|tap| tap.id == id && tap.of == of) {
            tap.asked_ms = now_ms;
            return Opened::Known(tap.news.clone());
        }
        if taps.len() >= self.max {
            return Opened::TooMany;
        }
        let news = Arc::new(Notify::new());
        taps.push(Tap {
            id,
            of,
            queue: VecDeque::new(),
            bytes: 0,
            lost: 0,
            told: Vec::new(),
            told_lost: 0,
            asked_ms: now_ms,
            news: news.clone(),
        });
        self.counted(&taps);
        Opened::New(news)
    }

    /// Puts what was there before a tap in front of what it heard since.
    pub(super) fn precede(&self, id: u64, before: Vec<Kept>) {
        let mut taps = self.taps();
        let Some(tap) = taps.iter_mut().find(|tap| tap.id == id) else { return };
        let since = tap.queue.front().map_or(u64::MAX, |entry| entry.header.position);
        for entry in before.into_iter().rev().filter(|entry| entry.header.position < since) {
            tap.bytes += entry.cost();
            tap.queue.push_front(entry);
        }
    }

    /// What a tap has to tell after a position, and how many entries are missing before it.
    pub(super) fn take(&self, id: u64, after: u64, now_ms: u64) -> (Vec<Kept>, u64) {
        let mut taps = self.taps();
        let Some(tap) = taps.iter_mut().find(|tap| tap.id == id) else {
            return (Vec::new(), 0);
        };
        tap.asked_ms = now_ms;
        tap.take(after, self.answer_bytes_max)
    }

    pub(super) fn end(&self, id: u64) {
        let mut taps = self.taps();
        taps.retain(|tap| tap.id != id);
        self.counted(&taps);
    }

    /// Drops taps that were not asked for in a while.
    pub(super) fn sweep(&self, now_ms: u64) {
        if self.any() {
            let idle = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
            let mut taps = self.taps();
            taps.retain(|tap| now_ms.saturating_sub(tap.asked_ms) <= idle);
            self.counted(&taps);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "taps are few")]
    fn counted(&self, taps: &[Tap]) {
        self.count.store(taps.len(), Ordering::Relaxed);
        metrics::gauge!("muster_gateway_taps").set(taps.len() as f64);
    }

    fn taps(&self) -> MutexGuard<'_, Vec<Tap>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    /// Queues an entry. The oldest go where there is no room: what is new says more.
    fn push(&mut self, entry: Kept, bytes_max: usize) {
        self.bytes += entry.cost();
        self.queue.push_back(entry);
        while self.bytes > bytes_max {
            let Some(gone) = self.queue.pop_front() else { break };
            self.bytes -= gone.cost();
            self.lost += 1;
            metrics::counter!("muster_gateway_tap_lost_total").increment(1);
        }
    }

    fn take(&mut self, after: u64, bytes_max: usize) -> (Vec<Kept>, u64) {
        self.told.retain(|entry| entry.header.position > after);
        if self.told.is_empty() {
            self.told_lost = std::mem::take(&mut self.lost);
            let mut bytes = 0;
            while let Some(next) = self.queue.front()
                && (bytes == 0 || bytes + next.cost() <= bytes_max)
            {
                bytes += next.cost();
                self.bytes -= next.cost();
                self.told.extend(self.queue.pop_front());
            }
            self.told.retain(|entry| entry.header.position > after);
        }
        (self.told.clone(), self.told_lost)
    }
}

#[cfg(test)]
mod tests {
    use bus::v1::Transport;
    use model::Timestamp;

    use super::*;

    const UID: InstanceUid = InstanceUid::from_bytes([1; 16]);
    const OF: Wanted = Wanted { uid: UID, direction: TapDirection::Unspecified };

    fn taps() -> Taps {
        let limits = Limits { taps_max: 2, tap_bytes_max: 2_000, ..Limits::default() };
        Taps::new(&limits)
    }

    fn header(position: u64) -> Header {
        let mut header = Header::new(UID, What::In, Transport::WebSocket, Timestamp(position));
        (header.position, header.size, header.kept) = (position, 100, 100);
        header
    }

    fn say(taps: &Taps, positions: std::ops::RangeInclusive<u64>) {
        positions.for_each(|position| taps.offer(&header(position), [&[7; 100], &[]]));
    }

    fn take(taps: &Taps, id: u64, after: u64) -> (Vec<u64>, u64) {
        let (entries, lost) = taps.take(id, after, 0);
        (entries.iter().map(|entry| entry.header.position).collect(), lost)
    }

    #[test]
    fn an_answer_is_given_again_until_it_arrived() {
        let taps = taps();
        taps.open(1, OF, 0);
        say(&taps, 1..=3);
        assert_eq!(take(&taps, 1, 0), (vec![1, 2, 3], 0));
        say(&taps, 4..=4);
        assert_eq!(take(&taps, 1, 0), (vec![1, 2, 3], 0), "the answer was lost");
        assert_eq!(take(&taps, 1, 2), (vec![3], 0), "a part of it did not fit");
        assert_eq!(take(&taps, 1, 3), (vec![4], 0));
        assert_eq!(take(&taps, 1, 4), (vec![], 0));
    }

    #[test]
    fn who_is_slow_loses_the_oldest_and_is_told_how_many() {
        let taps = taps();
        taps.open(1, OF, 0);
        say(&taps, 1..=100);
        let (entries, lost) = take(&taps, 1, 0);
        assert_eq!((entries.last(), entries.len() as u64 + lost), (Some(&100), 100));
        assert!(lost > 80, "{lost}");
        assert_eq!(take(&taps, 1, 0), (entries, lost));
        assert_eq!(take(&taps, 1, 100), (vec![], 0));
    }

    #[test]
    fn what_was_before_comes_first_and_once() {
        let taps = taps();
        taps.open(1, OF, 0);
        say(&taps, 3..=4);
        let before = [1, 2, 3].map(|position| Kept::of(&header(position), [&[7; 100], &[]]));
        taps.precede(1, before.into());
        assert_eq!(take(&taps, 1, 0), (vec![1, 2, 3, 4], 0));
    }

    #[test]
    fn taps_are_few_and_end_when_nobody_asks() {
        let taps = taps();
        assert!(matches!(taps.open(1, OF, 0), Opened::New(_)));
        assert!(matches!(taps.open(1, OF, 0), Opened::Known(_)));
        assert!(matches!(taps.open(2, OF, 5_000), Opened::New(_)));
        assert!(matches!(taps.open(3, OF, 5_000), Opened::TooMany));
        let idle = u64::try_from(Limits::default().tap_idle.as_millis()).unwrap();
        taps.sweep(idle + 1);
        assert!(matches!(taps.open(3, OF, idle + 1), Opened::New(_)), "the first one is over");
        taps.end(2);
        taps.end(3);
        assert!(!taps.any());
    }

    #[test]
    fn a_tap_hears_what_it_wants() {
        let one_way = Wanted { uid: UID, direction: TapDirection::Out };
        let mut out = header(1);
        assert!(!one_way.takes(&out));
        out.what = What::Out;
        assert!(one_way.takes(&out));
        out.what = What::Fact(bus::v1::tap_reply::fact::Kind::Opened);
        assert!(one_way.takes(&out));
        out.uid = InstanceUid::from_bytes([2; 16]);
        assert!(!one_way.takes(&out));
    }
}
