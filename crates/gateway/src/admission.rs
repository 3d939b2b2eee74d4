//! Who may begin now: handshakes by their rate, openings and polls by how long they would wait for
//! the workers. Openings are sessions' first reports. Each kind has its own seats among what is
//! asked of the workers, so that a storm of newcomers keeps nobody waiting who is here already, and
//! no more are taken than the workers answer in good time: what is asked later than that is asked
//! twice.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::Limits;
use crate::bucket::{Bucket, Rate};

/// Everything that decides on who begins.
#[derive(Debug)]
pub(crate) struct Admission {
    handshakes: Mutex<Bucket>,
    rate: Rate,
    pub(crate) openings: Lane,
    pub(crate) polls: Lane,
}

/// Why somebody may not begin: the label of what counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The bus is away, or the gateway is about to stop.
    NotReady,
    /// As many connections as may be.
    Connections,
    /// As many connections of one address as may be.
    Address,
    /// Too many handshakes in a second.
    Handshakes,
    /// It would wait too long for the workers.
    Wait,
    /// The memory for messages is used up.
    Memory,
    /// An agent connects in a loop.
    Loop,
    /// An agent says too much.
    Flood,
    /// It is not known who may come in.
    Roll,
}

impl Reason {
    /// Counts a refusal.
    pub(crate) fn count(self) {
        let reason = match self {
            Self::NotReady => "not_ready",
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Handshakes => "handshakes",
            Self::Wait => "wait",
            Self::Memory => "memory",
            Self::Loop => "loop",
            Self::Flood => "flood",
            Self::Roll => "roll",
        };
        metrics::counter!("muster_gateway_refused_total", "reason" => reason).increment(1);
    }
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            handshakes: Mutex::default(),
            rate: limits.handshakes,
            openings: Lane::new(limits.openings_in_flight_max, limits.opening_latency),
            polls: Lane::new(limits.reports_in_flight_max, limits.poll_patience / 3),
        }
    }

    /// Whether one more handshake is within the rate.
    pub(crate) fn shakes_hands(&self, now_ms: u64) -> bool {
        lock(&self.handshakes).take(now_ms, self.rate).is_ok()
    }
}

/// One kind of question to the workers: so many at once, and the rest waits for a seat.
#[derive(Debug)]
pub(crate) struct Lane {
    seats: Semaphore,
    seats_max: usize,
    latency: Duration,
    pace: Mutex<Pace>,
}

/// How fast they are answered, as far as somebody waits: else it says how fast they come.
#[derive(Debug)]
struct Pace {
    /// Seats there are now.
    seats: usize,
    /// Those in a seat and those that wait for one.
    present: usize,
    /// Since when answers are counted.
    since_ms: u64,
    answered: u32,
    per_second: Option<f64>,
}

/// Enough to see how fast answers come.
const SEATS_MIN: usize = 4;
/// As many are asked before anything is known.
const SEATS_FIRST: usize = 64;
/// How long answers are counted before they say something.
const WINDOW_MS: u64 = 500;

/// Somebody in a lane. It leaves with this value.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    lane: &'a Lane,
    seat: Option<SemaphorePermit<'a>>,
    is_answered: bool,
}

impl Lane {
    fn new(seats_max: usize, latency: Duration) -> Self {
        let seats = seats_max.min(SEATS_FIRST);
        Self {
            seats: Semaphore::new(seats),
            seats_max,
            latency,
            pace: Mutex::new(Pace::new(seats)),
        }
    }

    /// How long a newcomer would wait, as things are.
    pub(crate) fn projected_wait(&self, now_ms: u64) -> Duration {
        lock(&self.pace).projected_wait(now_ms)
    }

    /// Waits for a seat; `None` if there is none in time.
    pub(crate) async fn enter(&self, now_ms: u64, patience: Duration) -> Option<Place<'_>> {
        let mut place = self.come(now_ms);
        let seat = timeout(patience, self.seats.acquire()).await.ok()?;
        place.seat = Some(seat.ok()?);
        Some(place)
    }

    /// Somebody who waits for a seat from now on.
    fn come(&self, now_ms: u64) -> Place<'_> {
        lock(&self.pace).come(now_ms);
        Place { lane: self, seat: None, is_answered: false }
    }

    /// Brings the seats to as many as are wanted, those that are left first.
    fn resize(&self, pace: &mut Pace, seat: &mut Option<SemaphorePermit<'_>>, wanted: usize) {
        let wanted = wanted.clamp(SEATS_MIN.min(self.seats_max), self.seats_max);
        if wanted > pace.seats {
            self.seats.add_permits(wanted - pace.seats);
            pace.seats = wanted;
        } else if wanted < pace.seats
            && let Some(seat) = seat.take()
        {
            // One at a time, as they are left.
            seat.forget();
            pace.seats -= 1;
        }
    }
}

impl Place<'_> {
    /// The workers gave an answer.
    pub(crate) fn answered(mut self, now_ms: u64) {
        let mut pace = lock(&self.lane.pace);
        pace.answered(now_ms);
        // As many as are answered in the time that an answer is to take.
        if let Some(wanted) = pace.per_second.map(|rate| rate * self.lane.latency.as_secs_f64()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
            let wanted = wanted.min(1e6) as usize;
            self.lane.resize(&mut pace, &mut self.seat, wanted);
        }
        self.is_answered = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pace = lock(&self.lane.pace);
        pace.leave();
        if self.seat.is_some() && !self.is_answered {
            // Too much is asked for anything to be answered in time.
            let wanted = pace.seats.saturating_sub(1);
            self.lane.resize(&mut pace, &mut self.seat, wanted);
        }
    }
}

impl Pace {
    fn new(seats: usize) -> Self {
        Self { seats, present: 0, since_ms: 0, answered: 0, per_second: None }
    }

    fn is_crowded(&self) -> bool {
        self.present > self.seats
    }

    fn come(&mut self, now_ms: u64) {
        let was_crowded = self.is_crowded();
        self.present += 1;
        if !was_crowded && self.is_crowded() {
            (self.since_ms, self.answered) = (now_ms, 0);
        }
    }

    fn leave(&mut self) {
        self.present -= 1;
        if !self.is_crowded() {
            self.per_second = None;
        }
    }

    fn answered(&mut self, now_ms: u64) {
        if !self.is_crowded() {
            return;
        }
        self.answered += 1;
        let elapsed = now_ms.saturating_sub(self.since_ms);
        if elapsed >= WINDOW_MS {
            let sample = per_second(self.answered, elapsed);
            self.per_second = Some(self.per_second.map_or(sample, |known| (known + sample) / 2.0));
            (self.since_ms, self.answered) = (now_ms, 0);
        }
    }

    fn projected_wait(&self, now_ms: u64) -> Duration {
        if !self.is_crowded() {
            return Duration::ZERO;
        }
        let elapsed = now_ms.saturating_sub(self.since_ms);
        // Answers that stay away end no window, and say something all the same.
        let lately = (elapsed >= 2 * WINDOW_MS).then(|| per_second(self.answered + 1, elapsed));
        let rate = match (self.per_second, lately) {
            (Some(known), Some(lately)) => known.min(lately),
            (Some(rate), None) | (None, Some(rate)) => rate,
            (None, None) => return Duration::ZERO,
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let present = self.present as f64;
        Duration::try_from_secs_f64(present / rate).unwrap_or(Duration::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_second(count: u32, elapsed_ms: u64) -> f64 {
    f64::from(count) * 1_000.0 / elapsed_ms.max(1) as f64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
