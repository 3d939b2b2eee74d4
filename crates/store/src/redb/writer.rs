//! The one thread that writes. It takes what has piled up while the disk was busy, writes it in
//! one transaction, and answers everybody after one flush.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use ::redb::{Database, Durability, Error as Fault};
use bytes::Bytes;
use model::ConfigHash;
use opamp::InstanceUid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::tables::Tables;
use super::unavailable;
use crate::limits::{FLUSH_INTERVAL, GROUP_MAX, QUEUE_BYTES, QUEUE_UNIT, WRITE_TIMEOUT};
use crate::{Error, Key, Outcome, Presence, Version, Write};

/// Something to write.
#[derive(Debug)]
pub(super) enum Work {
    Commit(Vec<Write>),
    Settle(Vec<(Key, Version)>),
    Blob(ConfigHash, Bytes),
    Presence(String, Vec<Presence>),
    DropPresence(Vec<(String, InstanceUid)>),
    /// Nothing; only whether a transaction can be made.
    Probe,
}

/// The way to the thread, which ends with this value after the last flush.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Vec<Outcome>, Error>>,
    /// Its share of the queue.
    _room: OwnedSemaphorePermit,
}

/// The queue's length in units.
const ROOM: usize = QUEUE_BYTES / QUEUE_UNIT;

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> Result<Self, Error> {
        let (queue, jobs) = sync_channel(ROOM);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&database, &jobs))
            .map_err(|error| unavailable(&error))?;
        Ok(Self { queue: Some(queue), room: Arc::new(Semaphore::new(ROOM)), thread: Some(thread) })
    }

    /// Has something written; back when it is as durable as its kind asks for.
    pub(super) async fn write(&self, work: Work) -> Result<Vec<Outcome>, Error> {
        timeout(WRITE_TIMEOUT, self.queue(work))
            .await
            .unwrap_or_else(|_| Err(unavailable(&format_args!("no answer in {WRITE_TIMEOUT:?}"))))
    }

    async fn queue(&self, work: Work) -> Result<Vec<Outcome>, Error> {
        let room = self.room.clone().acquire_many_owned(work.units()).await;
        let (answer, answered) = oneshot::channel();
        let job = Job { work, answer, _room: room.expect("the semaphore is never closed") };
        let queue = self.queue.as_ref().expect("open until it is dropped");
        // Room for a unit is room for a job, so the queue is only refused by a thread that died.
        queue.try_send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Work {
    /// Whether it must be on disk before anybody hears of it.
    fn is_durable(&self) -> bool {
        matches!(self, Self::Commit(_) | Self::Blob(..))
    }

    fn changes(&self) -> bool {
        !matches!(self, Self::Probe)
    }

    fn units(&self) -> u32 {
        let bytes = match self {
            Self::Commit(writes) => writes
                .iter()
                .map(|write| write.key.id.len() + write.value.len() + write.events.len())
                .sum(),
            Self::Settle(settled) => settled.len() * size_of::<(Key, Version)>(),
            Self::Blob(_, body) => body.len(),
            Self::Presence(_, seen) => seen.len() * size_of::<Presence>(),
            Self::DropPresence(told) => told.len() * size_of::<(String, InstanceUid)>(),
            Self::Probe => 0,
        };
        // What is larger than the queue has it for itself.
        u32::try_from((bytes / QUEUE_UNIT + 1).min(ROOM)).expect("the queue's length fits")
    }

    fn apply(&self, tables: &mut Tables<'_>) -> Result<Vec<Outcome>, Fault> {
        match self {
            Self::Commit(writes) => writes.iter().map(|write| tables.write(write)).collect(),
            Self::Settle(settled) => settled
                .iter()
                .try_for_each(|(key, version)| tables.settle(key, *version))
                .map(|()| Vec::new()),
            Self::Blob(hash, body) => tables.put_blob(hash, body).map(|()| Vec::new()),
            Self::Presence(holder, seen) => seen
                .iter()
                .try_for_each(|entry| tables.put_presence(holder, entry))
                .map(|()| Vec::new()),
            Self::DropPresence(told) => tables.drop_presence(told).map(|()| Vec::new()),
            Self::Probe => Ok(Vec::new()),
        }
    }
}

fn run(database: &Database, jobs: &Receiver<Job>) {
    // Since when something is in memory only.
    let mut unflushed: Option<Instant> = None;
    loop {
        let next = match unflushed {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => jobs.recv_timeout(FLUSH_INTERVAL.saturating_sub(since.elapsed())),
        };
        let group: Vec<Job> = match next {
            Ok(first) => std::iter::once(first).chain(jobs.try_iter()).take(GROUP_MAX).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let overdue = unflushed.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL);
        let durable = overdue || group.iter().any(|job| job.work.is_durable());
        let changes = group.iter().any(|job| job.work.changes());
        if serve(database, group, durable) && (durable || changes) {
            unflushed = if durable { None } else { unflushed.or_else(|| Some(Instant::now())) };
        }
    }
    if unflushed.is_some() {
        serve(database, Vec::new(), true);
    }
}

/// Writes a group and answers it; whether that worked.
fn serve(database: &Database, group: Vec<Job>, durable: bool) -> bool {
    match write(database, &group, durable) {
        Ok(results) => {
            for (job, outcomes) in group.into_iter().zip(results) {
                let _ = job.answer.send(Ok(outcomes));
            }
            true
        }
        Err(fault) => {
            tracing::error!(error = %fault, calls = group.len(), "nothing can be written");
            for job in group {
                let _ = job.answer.send(Err(unavailable(&fault)));
            }
            false
        }
    }
}

fn write(database: &Database, group: &[Job], durable: bool) -> Result<Vec<Vec<Outcome>>, Fault> {
    let mut transaction = database.begin_write()?;
    let durability = if durable { Durability::Immediate } else { Durability::None };
    transaction.set_durability(durability)?;
    let mut tables = Tables::open(&transaction)?;
    let results = group.iter().map(|job| job.work.apply(&mut tables)).collect::<Result<_, _>>()?;
    drop(tables);
    if durable || group.iter().any(|job| job.work.changes()) {
        transaction.commit()?;
    } else {
        // A probe leaves no trace: commits in memory would pile up on an idle node.
        transaction.abort()?;
    }
    Ok(results)
}

fn gone() -> Error {
    unavailable(&"the writer has ended")
}
