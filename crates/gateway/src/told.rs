//! Which commands were asked for here, for whom, and what became of them: asked again, the same
//! command is not told again, and a late copy of what was refused is refused. Bounded; the oldest
//! go first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::v1::commanded::Outcome;
use opamp::InstanceUid;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// A command and one of its agents.
type Key = ([u8; 16], InstanceUid);
/// What became of it; `None` while it is being told.
type Fate = Option<Outcome>;

/// Commands of the last while.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    state: Arc<Mutex<State>>,
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    fates: BTreeMap<Key, Attempt>,
    order: VecDeque<Key>,
}

/// The newest attempt at a command for an agent.
#[derive(Debug)]
struct Attempt {
    number: u32,
    fate: watch::Receiver<Fate>,
}

/// One command for one agent: to be told by whoever holds this, or told by another.
#[derive(Debug)]
pub(crate) struct Turn {
    side: Side,
}

#[derive(Debug)]
enum Side {
    Mine(watch::Sender<Fate>),
    Anothers(watch::Receiver<Fate>),
}

impl Told {
    /// Remembers so many.
    pub(crate) fn new(max: usize) -> Self {
        Self { state: Arc::default(), max }
    }

    /// Begins an attempt at a command for an agent, unless that or a later one was begun, or the
    /// command may have been sent. Who does not say which attempt it is makes a new one.
    pub(crate) fn turn(&self, command: [u8; 16], uid: InstanceUid, number: u32) -> Turn {
        let key = (command, uid);
        let mut state = self.state();
        if let Some(known) = state.fates.get(&key) {
            let refused = known.fate.borrow().is_some_and(surely_not_sent);
            if !refused || (number != 0 && number <= known.number) {
                let side = Side::Anothers(known.fate.clone());
                return Turn { side };
            }
        }
        let (sender, fate) = watch::channel(None);
        if state.fates.insert(key, Attempt { number, fate }).is_none() {
            state.order.push_back(key);
        }
        while state.order.len() > self.max {
            let oldest = state.order.pop_front();
            oldest.into_iter().for_each(|oldest| drop(state.fates.remove(&oldest)));
        }
        drop(state);
        Turn { side: Side::Mine(sender) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Another one tells it, or has.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.side, Side::Anothers(_))
    }

    /// What became of it is known.
    pub(crate) fn decide(self, outcome: Outcome) -> Outcome {
        if let Side::Mine(fate) = &self.side {
            fate.send_replace(Some(outcome));
        }
        outcome
    }

    /// What became of it at the one who tells it. Whoever does not end in time may have sent it.
    pub(crate) async fn outcome(self, deadline: Instant) -> Outcome {
        let Side::Anothers(mut fate) = self.side else { return Outcome::Broken };
        let known = timeout_at(deadline, fate.wait_for(Option::is_some)).await;
        known.ok().and_then(|fate| *fate.ok()?).unwrap_or(Outcome::Broken)
    }
}

fn surely_not_sent(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::NotOwner | Outcome::Busy | Outcome::Late)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UID: InstanceUid = InstanceUid::from_bytes([1; 16]);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn who_asks_again_is_told_what_became_of_the_first() {
        let told = Told::new(8);
        let first = told.turn([1; 16], UID, 1);
        let again = told.turn([1; 16], UID, 1);
        assert!(!first.is_taken() && again.is_taken());
        assert!(!told.turn([2; 16], UID, 1).is_taken());
        let (first, again) =
            tokio::join!(async { first.decide(Outcome::Delivered) }, again.outcome(soon()));
        assert_eq!((first, again), (Outcome::Delivered, Outcome::Delivered));
        assert_eq!(told.turn([1; 16], UID, 1).outcome(soon()).await, Outcome::Delivered);
    }

    #[tokio::test]
    async fn what_was_surely_not_sent_may_be_told_again() {
        let told = Told::new(8);
        told.turn([1; 16], UID, 1).decide(Outcome::Busy);
        let late = told.turn([1; 16], UID, 1);
        assert_eq!(late.outcome(soon()).await, Outcome::Busy, "a copy");
        let next = told.turn([1; 16], UID, 2);
        assert!(!next.is_taken());
        // It panicked, say: part of it may be on the socket.
        let again = told.turn([1; 16], UID, 3);
        drop(next);
        assert_eq!(again.outcome(soon()).await, Outcome::Broken);
    }

    #[tokio::test]
    async fn only_so_many_are_remembered() {
        let told = Told::new(2);
        for id in 1..=3 {
            told.turn([id; 16], UID, 1).decide(Outcome::Sent);
        }
        assert!(!told.turn([1; 16], UID, 1).is_taken() && told.turn([3; 16], UID, 1).is_taken());
        assert_eq!(told.state().order.len(), 2);
    }
}
