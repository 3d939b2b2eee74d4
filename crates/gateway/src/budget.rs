//! Bytes of agents' messages held in the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is held and how much may be.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The budget is used up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// A share of nothing yet.
    pub(crate) fn open(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }
}

impl Charge {
    /// Makes the share this large. Shrinking always succeeds.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes <= self.bytes {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let used = self.budget.used.fetch_add(more, Ordering::Relaxed);
            if used.saturating_add(more) > self.budget.max {
                self.budget.used.fetch_sub(more, Ordering::Relaxed);
                return Err(Exhausted);
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Makes the share larger by this much.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.set(self.bytes + bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_come_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.open(), budget.open());
        assert_eq!(one.set(6), Ok(()));
        assert_eq!(two.set(5), Err(Exhausted));
        assert_eq!(two.grow(4), Ok(()));
        assert_eq!(one.set(2), Ok(()));
        assert_eq!(two.grow(4), Ok(()));
        drop(two);
        assert_eq!(one.set(10), Ok(()));
    }
}
