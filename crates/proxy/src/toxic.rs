//! What can be done to the bytes of a direction.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::limits::WRITES_PER_SECOND;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From who connected to where it leads.
    Up = 0,
    /// Back.
    Down = 1,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// What is done to the bytes of a direction; nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Toxics {
    /// How much later they arrive.
    pub latency: Duration,
    /// How much later still, at most. They stay in order.
    pub jitter: Duration,
    /// Bytes a second at most; 0 for any number.
    pub bytes_per_second: u64,
    /// Nothing goes on, and no end does either; it waits until the way is back.
    pub blackhole: bool,
    /// Bytes written at once at most; 0 for any number.
    pub slice: usize,
    /// One bit in about so many bytes is flipped; 0 for none.
    pub corrupt_one_in: u64,
    /// The connection is reset once so many more bytes have passed.
    pub limit_bytes: Option<u64>,
}

/// What a connection keeps in mind for the toxics of one direction.
#[derive(Debug)]
pub(crate) struct Mind {
    random: StdRng,
    /// Bytes until the next bit is flipped.
    clean: u64,
    /// Bytes that may still pass.
    allowed: Option<u64>,
    /// The limit that was last seen, to notice a new one.
    limit: Option<u64>,
    /// When the newest bytes arrive: later ones do not before.
    newest: Instant,
    /// When the next may be written.
    pub(crate) free: Instant,
}

impl Mind {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let random = StdRng::seed_from_u64(seed);
        Self { random, clean: 0, allowed: None, limit: None, newest: now, free: now }
    }

    /// Takes in what is done from now on.
    pub(crate) fn follow(&mut self, toxics: &Toxics) {
        if self.limit != toxics.limit_bytes {
            self.limit = toxics.limit_bytes;
            self.allowed = toxics.limit_bytes;
        }
    }

    /// When bytes arrive that were sent now.
    pub(crate) fn due(&mut self, toxics: &Toxics) -> Instant {
        let most = u64::try_from(toxics.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.random.random_range(0..=most));
        self.newest = self.newest.max(Instant::now() + toxics.latency + jitter);
        self.newest
    }

    /// Flips bits here and there.
    pub(crate) fn corrupt(&mut self, toxics: &Toxics, bytes: &mut [u8]) {
        let one_in = toxics.corrupt_one_in;
        for byte in bytes.iter_mut().filter(|_| one_in > 0) {
            if self.clean == 0 {
                *byte ^= 1 << self.random.random_range(0..8);
                self.clean = self.random.random_range(1..=one_in.saturating_mul(2));
            }
            self.clean -= 1;
        }
    }

    /// How many of so many bytes may be written now; none once the limit is reached.
    pub(crate) fn portion(&self, toxics: &Toxics, length: usize) -> usize {
        let mut portion = length;
        if toxics.slice > 0 {
            portion = portion.min(toxics.slice);
        }
        if toxics.bytes_per_second > 0 {
            let piece = (toxics.bytes_per_second / WRITES_PER_SECOND).max(1);
            portion = portion.min(usize::try_from(piece).unwrap_or(usize::MAX));
        }
        match self.allowed {
            Some(allowed) => portion.min(usize::try_from(allowed).unwrap_or(usize::MAX)),
            None => portion,
        }
    }

    /// So many bytes were written.
    pub(crate) fn wrote(&mut self, toxics: &Toxics, count: u64) {
        if let Some(allowed) = &mut self.allowed {
            *allowed = allowed.saturating_sub(count);
        }
        if let Some(micros) = count.saturating_mul(1_000_000).checked_div(toxics.bytes_per_second) {
            self.free = Instant::now() + Duration::from_micros(micros);
        }
    }
}
