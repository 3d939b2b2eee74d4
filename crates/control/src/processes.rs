//! Which processes and gateways there are, as they say themselves. For people to look at: whether
//! an agent can be reached is the view's to say. Only how evenly gateways are filled is decided by
//! what is in here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::{Client, Subject, v1};
use model::{Clock, Timestamp};

use crate::Limits;
use crate::backoff::Backoff;
use crate::error::within;

/// Those that were heard lately.
#[derive(Debug)]
pub(crate) struct Processes {
    limits: Limits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    processes: BTreeMap<String, Heard<v1::Status>>,
    /// Sessions by gateway: gateways say them more often than the rest.
    gateways: BTreeMap<String, Heard<u64>>,
    /// Gateways that said goodbye: their last sign of life may come after it.
    gone: BTreeMap<String, Heard<()>>,
}

/// What was said, and when by our own clock.
#[derive(Debug, Clone)]
pub(crate) struct Heard<T> {
    pub(crate) said: T,
    pub(crate) at: Timestamp,
    /// Heard so lately that it is taken for living.
    pub(crate) alive: bool,
}

/// Everything that is known, by name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) processes: Vec<Heard<v1::Status>>,
    pub(crate) gateways: Vec<(String, Heard<u64>)>,
}

impl Known {
    /// The process that a gateway runs in.
    pub(crate) fn process_of(&self, gateway: &str) -> Option<&v1::Status> {
        let own = |process: &&Heard<v1::Status>| process.said.gateway_id == gateway;
        self.processes.iter().filter(own).max_by_key(|process| process.at).map(|found| &found.said)
    }
}

impl Processes {
    pub(crate) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self { limits, clock, state: Mutex::default() }
    }

    /// Listens to processes, for ever.
    pub(crate) async fn listen(self: Arc<Self>, bus: Client) {
        let mut backoff = Backoff::new(&self.limits);
        loop {
            let inbox = bus.subscribe(&Subject::Status, self.limits.status_inbox_max);
            match within(self.limits.bus_timeout, "the bus", inbox).await {
                Ok(mut inbox) => {
                    backoff.reset();
                    while let Some(received) = inbox.next().await {
                        self.told(received.body);
                    }
                }
                Err(error) => tracing::warn!(%error, "processes cannot be heard"),
            }
            backoff.wait().await;
        }
    }

    /// Takes what a process says of itself.
    fn told(&self, status: v1::Status) {
        let (mut state, at) = (self.state(), self.clock.now());
        if status.ended {
            state.processes.remove(&status.process_id);
            state.gateways.remove(&status.gateway_id);
            state.gone.insert(status.gateway_id, Heard { said: (), at, alive: false });
            self.forget(&mut state.gone, at);
            return;
        }
        state.gone.remove(&status.gateway_id);
        let id = status.process_id.clone();
        state.processes.insert(id, Heard { said: status, at, alive: true });
        self.forget(&mut state.processes, at);
    }

    /// Takes a gateway's sign of life.
    pub(crate) fn spoke(&self, presence: &v1::Presence) {
        if presence.gateway_id.is_empty() {
            return;
        }
        let (mut state, at) = (self.state(), self.clock.now());
        let gone = state.gone.get(&presence.gateway_id);
        if gone.is_some_and(|gone| at.millis_since(gone.at) <= self.limits.gateway_lease_ms) {
            return;
        }
        let id = presence.gateway_id.clone();
        state.gateways.insert(id, Heard { said: presence.sessions, at, alive: true });
        self.forget(&mut state.gateways, at);
    }

    /// Sessions of the gateways that serve and mean to go on.
    pub(crate) fn serving(&self) -> BTreeMap<String, u64> {
        let known = self.known();
        let stays = |gateway: &str| {
            let process = known.process_of(gateway);
            process.is_some_and(|process| !process.draining)
        };
        let alive = known.gateways.iter().filter(|(id, heard)| heard.alive && stays(id));
        alive.map(|(id, heard)| (id.clone(), heard.said)).collect()
    }

    /// Everything that is remembered.
    pub(crate) fn known(&self) -> Known {
        let (mut state, now) = (self.state(), self.clock.now());
        self.forget(&mut state.processes, now);
        self.forget(&mut state.gateways, now);
        Known {
            processes: state.processes.values().map(|heard| self.judge(heard, now)).collect(),
            gateways: state
                .gateways
                .iter()
                .map(|(id, heard)| (id.clone(), self.judge(heard, now)))
                .collect(),
        }
    }

    fn judge<T: Clone>(&self, heard: &Heard<T>, now: Timestamp) -> Heard<T> {
        let alive = now.millis_since(heard.at) <= self.limits.gateway_lease_ms;
        Heard { alive, ..heard.clone() }
    }

    /// Drops those that are silent for long, and of too many the one that is silent longest.
    fn forget<T>(&self, heard: &mut BTreeMap<String, Heard<T>>, now: Timestamp) {
        let memory = self.limits.process_memory_ms;
        heard.retain(|_, heard| now.millis_since(heard.at) <= memory);
        while heard.len() > self.limits.processes_max {
            let oldest = heard.iter().min_by_key(|(_, heard)| heard.at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
            heard.remove(&oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Time(AtomicU64);

    impl Clock for Time {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    fn processes(max: usize) -> (Processes, Arc<Time>) {
        let (clock, limits) = (Arc::<Time>::default(), Limits::default());
        let limits = Limits { processes_max: max, ..limits };
        (Processes::new(limits, clock.clone()), clock)
    }

    fn status(id: &str) -> v1::Status {
        v1::Status { process_id: id.to_owned(), ..Default::default() }
    }

    fn names(processes: &Processes) -> Vec<(String, bool)> {
        let known = processes.known().processes;
        known.into_iter().map(|heard| (heard.said.process_id, heard.alive)).collect()
    }

    #[test]
    fn the_silent_are_shown_as_such_and_then_forgotten() {
        let (processes, clock) = processes(8);
        processes.told(status("a"));
        clock.0.store(Limits::default().gateway_lease_ms + 1, Ordering::Relaxed);
        processes.told(status("b"));
        assert_eq!(names(&processes), [("a".to_owned(), false), ("b".to_owned(), true)]);
        clock.0.store(Limits::default().process_memory_ms + 1, Ordering::Relaxed);
        assert_eq!(names(&processes), [("b".to_owned(), false)]);
    }

    #[test]
    fn who_ends_is_forgotten_at_once_with_its_gateway() {
        let (processes, _) = processes(8);
        let presence =
            v1::Presence { gateway_id: "g".to_owned(), sessions: 7, ..Default::default() };
        processes.spoke(&presence);
        processes.told(v1::Status { gateway_id: "g".to_owned(), ..status("a") });
        let known = processes.known();
        assert_eq!((known.gateways[0].1.said, known.process_of("g").is_some()), (7, true));
        let ended = v1::Status { gateway_id: "g".to_owned(), ended: true, ..status("a") };
        processes.told(ended);
        // Its last sign of life may be late.
        processes.spoke(&presence);
        let known = processes.known();
        assert!(known.processes.is_empty() && known.gateways.is_empty());
        processes.told(v1::Status { gateway_id: "g".to_owned(), ..status("b") });
        processes.spoke(&presence);
        assert_eq!(processes.known().gateways.len(), 1, "another one by that name");
    }

    #[test]
    fn of_too_many_the_longest_silent_goes() {
        let (processes, clock) = processes(2);
        for (at, id) in ["c", "a", "b"].into_iter().enumerate() {
            clock.0.store(at as u64, Ordering::Relaxed);
            processes.told(status(id));
        }
        assert_eq!(names(&processes), [("a".to_owned(), true), ("b".to_owned(), true)]);
    }
}
