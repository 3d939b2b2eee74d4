//! Reads the event log from a position on, over lost connections and lost consumers, and tells
//! when entries are missing. (A pull at a time: JetStream sends no more than the reader takes.)

use std::sync::Arc;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::log::{Log, unavailable, within};
use crate::Error;
use crate::limits::{
    LOG_BATCH, LOG_BATCH_EXPIRES, LOG_LOST_AFTER, LOG_READER_IDLE, LOG_RETRY_PAUSE, READER_CAPACITY,
};
use crate::port::{Guard, LogReader, Logged, Position};

/// Starts a reader. The first position is judged before this returns.
pub(super) async fn read(log: Arc<Log>, from: Position) -> Result<LogReader, Error> {
    let breaks = log.link().waiters().breaks();
    let stream = log.stream().await?;
    let consumer = consumer(&stream, from.0).await?;
    let made = stream.cached_info().created;
    let name = u64::try_from(made.unix_timestamp_nanos()).unwrap_or_default();
    let (sender, receiver) = mpsc::channel(READER_CAPACITY);
    let reader = Reader { log, made, next: from.0, breaks, sender };
    #[expect(clippy::disallowed_methods, reason = "aborted by the reader's guard")]
    let task = tokio::spawn(reader.run(consumer));
    Ok(LogReader::new(name, receiver, Guard::new(move || task.abort())))
}

struct Reader {
    log: Arc<Log>,
    /// When the stream was made: another one of the same name has other positions.
    made: DateTime,
    next: u64,
    breaks: watch::Receiver<u64>,
    sender: mpsc::Sender<Result<Logged, Error>>,
}

/// Why a pull ended early.
enum Ended {
    /// Nobody reads any more.
    Unread,
    /// Entries that were still to be read are gone.
    Hole { oldest: u64 },
    /// Connection or consumer are lost.
    Lost,
}

impl Reader {
    async fn run(mut self, mut consumer: PullConsumer) {
        loop {
            match self.pull(&consumer).await {
                Ok(()) => {}
                Err(Ended::Unread) => return,
                Err(Ended::Hole { oldest }) => {
                    let hole = Error::OutOfRange { asked: self.next, oldest };
                    let _ = self.sender.send(Err(hole)).await;
                    return;
                }
                Err(Ended::Lost) => match self.reopen().await {
                    Ok(reopened) => consumer = reopened,
                    Err(error) => {
                        let _ = self.sender.send(Err(error)).await;
                        return;
                    }
                },
            }
        }
    }

    /// Asks for some entries and hands them on until all have come or the question expired.
    async fn pull(&mut self, consumer: &PullConsumer) -> Result<(), Ended> {
        self.breaks.mark_unchanged();
        if self.log.link().check().is_err() {
            return Err(Ended::Lost);
        }
        let asking = consumer.batch().max_messages(LOG_BATCH).expires(LOG_BATCH_EXPIRES).messages();
        let Ok(Ok(mut batch)) = within(asking).await else {
            return Err(Ended::Lost);
        };
        loop {
            let message = tokio::select! {
                biased;
                message = batch.next() => message,
                _ = self.breaks.changed() => return Err(Ended::Lost),
            };
            let message = match message {
                None => return Ok(()),
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(%error, "event log broke off");
                    return Err(Ended::Lost);
                }
            };
            let Ok(found) = message.info().map(|info| info.stream_sequence) else {
                return Err(Ended::Lost);
            };
            if found != self.next {
                return Err(Ended::Hole { oldest: found });
            }
            let payload = message.message.payload;
            let logged = Logged { position: Position(found), payload };
            self.sender.send(Ok(logged)).await.map_err(|_| Ended::Unread)?;
            self.next = found + 1;
        }
    }

    /// Finds the place again, or says why there is none.
    async fn reopen(&self) -> Result<PullConsumer, Error> {
        let deadline = Instant::now() + LOG_LOST_AFTER;
        loop {
            match self.try_reopen().await {
                Err(Error::Unavailable(_)) if Instant::now() < deadline => {
                    sleep(LOG_RETRY_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    async fn try_reopen(&self) -> Result<PullConsumer, Error> {
        match self.log.existing_stream().await? {
            Some(stream) if stream.cached_info().created == self.made => {
                consumer(&stream, self.next).await
            }
            // Deleted, and perhaps made anew: its positions mean nothing any more.
            _ => Err(Error::OutOfRange { asked: self.next, oldest: 1 }),
        }
    }
}

/// A place in the stream that ends by itself once nobody asks from there.
async fn consumer(stream: &Stream, from: u64) -> Result<PullConsumer, Error> {
    let state = &stream.cached_info().state;
    let oldest = state.first_sequence.max(1);
    if from < oldest || from > state.last_sequence + 1 {
        return Err(Error::OutOfRange { asked: from, oldest });
    }
    let config = Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ack_policy: AckPolicy::None,
        inactive_threshold: LOG_READER_IDLE,
        memory_storage: true,
        num_replicas: 1,
        ..Default::default()
    };
    within(stream.create_consumer(config)).await?.map_err(unavailable)
}
