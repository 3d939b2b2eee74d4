//! What the rooms need from the world and the simulator must own: the time of day and
//! randomness. Only the traits live here; the binary brings the real ones.

use std::fmt;

use opamp::InstanceUid;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`, 0 if the clock stepped back.
    pub const fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of day. Timers are tokio's own, which the simulator pauses.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Randomness.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills the buffer with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// A fresh UUIDv7.
pub fn new_uid(clock: &dyn Clock, random: &dyn Random) -> InstanceUid {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    InstanceUid::v7(clock.now().0, bytes)
}
