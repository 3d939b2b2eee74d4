//! The bus of `muster serve`: everything in one process, nothing on disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::limits::{LOG_BYTES_MAX, LOG_IDS_MAX, PAYLOAD_MAX, READER_CAPACITY};
use crate::port::{
    Bus, Guard, Inbound, LogEntry, LogReader, Logged, Position, ReplyTo, Subscription,
};

/// A bus inside one process. Cheap to clone; clones are the same bus.
#[derive(Debug, Clone)]
pub struct InProcess {
    routes: Arc<Mutex<Routes>>,
    log: Arc<Mutex<Log>>,
    appended: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Routes {
    subjects: BTreeMap<String, Vec<Route>>,
    next_id: u64,
}

#[derive(Debug)]
struct Route {
    id: u64,
    group: Option<String>,
    sender: mpsc::Sender<Inbound>,
}

#[derive(Debug)]
struct Log {
    entries: VecDeque<Logged>,
    bytes: usize,
    next: u64,
    ids: VecDeque<String>,
    known_ids: std::collections::BTreeSet<String>,
}

impl Default for InProcess {
    fn default() -> Self {
        let log = Log {
            entries: VecDeque::new(),
            bytes: 0,
            next: 1,
            ids: VecDeque::new(),
            known_ids: std::collections::BTreeSet::new(),
        };
        Self {
            routes: Arc::default(),
            log: Arc::new(Mutex::new(log)),
            appended: Arc::new(watch::Sender::new(0)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Routes {
    /// Who gets a message: every lone subscriber and, in turn, one of each group.
    fn targets(&mut self, subject: &str) -> Vec<mpsc::Sender<Inbound>> {
        let Some(routes) = self.subjects.get_mut(subject) else {
            return Vec::new();
        };
        let mut served: Vec<String> = Vec::new();
        let mut targets = Vec::new();
        let mut used = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            match &route.group {
                Some(group) if served.contains(group) => continue,
                Some(group) => {
                    served.push(group.clone());
                    used.push(index);
                }
                None => {}
            }
            targets.push(route.sender.clone());
        }
        // Who served its group goes to the end, so that members take turns.
        for index in used.into_iter().rev() {
            let route = routes.remove(index);
            routes.push(route);
        }
        targets
    }
}

impl InProcess {
    fn send(&self, subject: &str, payload: &Bytes, mut reply: Option<ReplyTo>) -> usize {
        let targets = lock(&self.routes).targets(subject);
        let count = targets.len();
        for target in targets {
            let inbound = Inbound { payload: payload.clone(), reply: reply.take() };
            if target.try_send(inbound).is_err() {
                metrics::counter!("muster_bus_dropped_total").increment(1);
            }
        }
        count
    }
}

#[async_trait]
impl Bus for InProcess {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), Error> {
        self.send(subject, &payload, None);
        Ok(())
    }

    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let (reply, answer) = oneshot::channel();
        if self.send(subject, &payload, Some(ReplyTo::Local(reply))) == 0 {
            return Err(Error::NoResponder(subject.to_owned()));
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // Dropped unanswered looks like silence on a real bus; the wait is over either way.
            Ok(Err(_)) | Err(_) => Err(Error::TimedOut(subject.to_owned())),
        }
    }

    async fn subscribe(
        &self,
        subject: &str,
        group: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, Error> {
        let (sender, receiver) = mpsc::channel(capacity);
        let mut routes = lock(&self.routes);
        let id = routes.next_id;
        routes.next_id += 1;
        let route = Route { id, group: group.map(str::to_owned), sender };
        routes.subjects.entry(subject.to_owned()).or_default().push(route);
        let (routes, subject) = (Arc::downgrade(&self.routes), subject.to_owned());
        let guard = Guard::new(move || unsubscribe(&routes, &subject, id));
        Ok(Subscription::new(receiver, guard))
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }

    async fn append(&self, entries: Vec<LogEntry>) -> Result<(), Error> {
        let mut log = lock(&self.log);
        for entry in entries {
            log.append(entry);
        }
        self.appended.send_replace(log.next);
        Ok(())
    }

    async fn tail(&self) -> Result<Position, Error> {
        Ok(Position(lock(&self.log).next))
    }

    async fn read(&self, from: Position) -> Result<LogReader, Error> {
        lock(&self.log).check(from)?;
        let (sender, receiver) = mpsc::channel(READER_CAPACITY);
        let (log, mut appended) = (self.log.clone(), self.appended.subscribe());
        #[expect(clippy::disallowed_methods, reason = "aborted by the reader's guard")]
        let task = tokio::spawn(async move {
            let mut next = from;
            loop {
                let step = lock(&log).next_from(next);
                let ended = match step {
                    Ok(Some(logged)) => {
                        next = Position(logged.position.0 + 1);
                        sender.send(Ok(logged)).await.is_err()
                    }
                    Ok(None) => appended.changed().await.is_err(),
                    Err(error) => {
                        let _ = sender.send(Err(error)).await;
                        true
                    }
                };
                if ended {
                    return;
                }
            }
        });
        Ok(LogReader::new(receiver, Guard::new(move || task.abort())))
    }
}

fn unsubscribe(routes: &Weak<Mutex<Routes>>, subject: &str, id: u64) {
    let Some(routes) = routes.upgrade() else {
        return;
    };
    let mut routes = lock(&routes);
    if let Some(list) = routes.subjects.get_mut(subject) {
        list.retain(|route| route.id != id);
        if list.is_empty() {
            routes.subjects.remove(subject);
        }
    }
}

impl Log {
    fn append(&mut self, entry: LogEntry) {
        if !self.known_ids.insert(entry.id.clone()) {
            return;
        }
        self.ids.push_back(entry.id);
        if self.ids.len() > LOG_IDS_MAX
            && let Some(oldest) = self.ids.pop_front()
        {
            self.known_ids.remove(&oldest);
        }
        self.bytes += entry.payload.len();
        self.entries.push_back(Logged { position: Position(self.next), payload: entry.payload });
        self.next += 1;
        while self.bytes > LOG_BYTES_MAX
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.payload.len();
        }
    }

    fn oldest(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    fn check(&self, from: Position) -> Result<(), Error> {
        if from.0 < self.oldest() || from.0 > self.next {
            return Err(Error::OutOfRange { asked: from.0, oldest: self.oldest() });
        }
        Ok(())
    }

    fn next_from(&self, from: Position) -> Result<Option<Logged>, Error> {
        self.check(from)?;
        let index = usize::try_from(from.0 - self.oldest()).expect("an index into memory");
        Ok(self.entries.get(index).cloned())
    }
}
