//! The bus of `muster serve`: everything in one process, nothing on disk.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::limits::PAYLOAD_MAX;
use crate::port::{
    Bus, Guard, Inbound, LogEntry, LogReader, Position, ReplyTo, Subscription, Way, check_key,
};
use crate::queue::{Entrance, queue};
use crate::traffic::Traffic;
use crate::{Counts, Error};

mod log;

use log::SharedLog;

/// A bus inside one process. Cheap to clone; clones are the same bus.
#[derive(Debug, Clone, Default)]
pub struct InProcess {
    routes: Arc<Mutex<Routes>>,
    log: SharedLog,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Routes {
    subjects: BTreeMap<String, Listeners>,
    next_id: u64,
}

/// Who listens to one subject.
#[derive(Debug, Default)]
struct Listeners {
    lone: Vec<Route>,
    groups: BTreeMap<String, VecDeque<Route>>,
}

#[derive(Debug)]
struct Route {
    id: u64,
    entrance: Entrance,
}

/// The asker of one request. The first answer counts.
#[derive(Debug)]
struct Asker {
    answer: mpsc::Sender<Bytes>,
    traffic: Arc<Traffic>,
}

#[async_trait]
impl Way for Asker {
    async fn answer(&self, _subject: &str, payload: Bytes) {
        self.traffic.replied();
        let _ = self.answer.try_send(payload);
    }
}

#[async_trait]
impl Bus for InProcess {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        check(&payload)?;
        self.traffic.published();
        self.send(subject, &payload, None);
        Ok(())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        check(&payload)?;
        self.traffic.requested();
        let (answer, mut answered) = mpsc::channel(1);
        let asker: Arc<dyn Way> = Arc::new(Asker { answer, traffic: self.traffic.clone() });
        if self.send(subject, &payload, Some(&asker)) == 0 {
            return Err(Error::NoResponder(subject.to_owned()));
        }
        let answer = async {
            match answered.recv().await {
                Some(answer) => answer,
                // All who got it dropped it. On a real bus that is silence, and askers that try
                // again count on the wait.
                None => pending().await,
            }
        };
        tokio::time::timeout(timeout, answer).await.map_err(|_| Error::TimedOut(subject.to_owned()))
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        let (entrance, waiting) = queue(capacity, self.traffic.clone());
        let id = lock(&self.routes).add(subject, group, entrance);
        let (routes, subject) = (Arc::downgrade(&self.routes), subject.to_owned());
        let guard = Guard::new(move || unsubscribe(&routes, &subject, id));
        Ok(Subscription::new(waiting, guard))
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        for entry in &entries {
            check_key(&entry.key)?;
            check(&entry.payload)?;
        }
        self.traffic.appended(entries.len());
        self.log.append(entries);
        Ok(())
    }

    async fn tail(&self) -> Result<Position, Error> {
        Ok(self.log.tail())
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        self.log.read(from)
    }

    fn traffic(&self) -> Counts {
        self.traffic.counts()
    }
}

impl InProcess {
    fn send(&self, subject: &str, payload: &Bytes, asker: Option<&Arc<dyn Way>>) -> usize {
        let mut routes = lock(&self.routes);
        let Some(listeners) = routes.subjects.get_mut(subject) else {
            return 0;
        };
        let mut count = 0;
        listeners.each(|entrance| {
            let reply = asker.map(|asker| ReplyTo::new(String::new(), asker.clone()));
            entrance.offer(Inbound { payload: payload.clone(), reply });
            count += 1;
        });
        count
    }
}

impl Routes {
    fn add(&mut self, subject: &str, group: Option<&str>, entrance: Entrance) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let listeners = self.subjects.entry(subject.to_owned()).or_default();
        let route = Route { id, entrance };
        match group {
            Some(group) => listeners.groups.entry(group.to_owned()).or_default().push_back(route),
            None => listeners.lone.push(route),
        }
        id
    }
}

impl Listeners {
    /// Every lone listener and, in turn, one of each group.
    fn each(&mut self, mut give: impl FnMut(&Entrance)) {
        for route in &self.lone {
            give(&route.entrance);
        }
        for members in self.groups.values_mut() {
            if let Some(first) = members.front() {
                give(&first.entrance);
                members.rotate_left(1);
            }
        }
    }

    fn remove(&mut self, id: u64) {
        self.lone.retain(|route| route.id != id);
        self.groups.retain(|_, members| {
            members.retain(|route| route.id != id);
            !members.is_empty()
        });
    }

    fn is_empty(&self) -> bool {
        self.lone.is_empty() && self.groups.is_empty()
    }
}

fn unsubscribe(routes: &Weak<Mutex<Routes>>, subject: &str, id: u64) {
    let Some(routes) = routes.upgrade() else {
        return;
    };
    let mut routes = lock(&routes);
    if let Some(listeners) = routes.subjects.get_mut(subject) {
        listeners.remove(id);
        if listeners.is_empty() {
            routes.subjects.remove(subject);
        }
    }
}

fn check(payload: &Bytes) -> Result<(), Error> {
    if payload.len() > PAYLOAD_MAX {
        return Err(Error::TooLarge { size: payload.len(), limit: PAYLOAD_MAX });
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
