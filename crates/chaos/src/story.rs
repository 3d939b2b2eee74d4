//! What happened, as it is told beside a counter-example.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits::STORY_MAX;

/// An invariant does not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which, such as `I1`.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

pub(crate) fn violation(invariant: &'static str, found: impl Into<String>) -> Violation {
    Violation { invariant, found: found.into() }
}

/// The newest events of a campaign.
#[derive(Debug, Clone)]
pub(crate) struct Story(Arc<Mutex<VecDeque<String>>>, Instant);

impl Story {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    pub(crate) fn note(&self, event: impl fmt::Display) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == STORY_MAX {
            events.pop_front();
        }
        events.push_back(format!("{:9.3} {event}", self.1.elapsed().as_secs_f64()));
    }

    pub(crate) fn tell(&self) -> String {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|event| format!("{event}\n")).collect()
    }
}
