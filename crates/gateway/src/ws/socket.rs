//! A connection's task: reads, decodes, answers or hands on, and writes, all in one poll. Between
//! polls it owns no buffer; what is read lies in a scratch area that each thread has one of.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bus::v1::Transport;
use bus::v1::tap_reply::fact::Kind as Fact;
use bytes::Bytes;
use opamp::ws::{Decoder, Event, Role, close_code};
use opamp::{InstanceUid, envelope};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::writer::Writer;
use super::{Frame, Kind};
use crate::admission::Reason;
use crate::budget::Charge;
use crate::connection::{Connection, Submitted};
use crate::incoming::{Incoming, Refused};
use crate::shared::{Shared, panicked};
use crate::trace::NOBODY;
use crate::{ask, reply};

const SCRATCH_BYTES: usize = 32 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// One WebSocket.
pub(crate) struct Socket<IO> {
    io: IO,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    decoder: Decoder,
    writer: Writer,
    /// For the message that is arriving.
    charge: Charge,
    malformed_in_a_row: u32,
    floods_in_a_row: u32,
    /// Something panicked here.
    broken: bool,
    phase: Phase,
    /// Who spoke last, and the close that was seen first: for who looks at the end.
    last: Option<InstanceUid>,
    farewell: Option<(Fact, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The peer closed with this code; our answer is due once replies in flight are out.
    Answering(Option<u16>),
    /// Our answer to the peer's close is queued: the last thing this connection does.
    Answered,
    /// Our own close is queued; the peer's answer is awaited.
    Closing,
    /// The peer broke the protocol: our close is queued, and what it still sends is discarded,
    /// its answer included. Once `told`, it sees the end of the stream behind our close.
    Failing {
        told: bool,
    },
    Over,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    pub(crate) fn new(io: IO, shared: Arc<Shared>, connection: Arc<Connection>) -> Self {
        let decoder = Decoder::new(Role::Server, shared.limits.receive_bytes_max);
        let charge = shared.budget.open();
        Self {
            io,
            shared,
            connection,
            decoder,
            writer: Writer::default(),
            charge,
            malformed_in_a_row: 0,
            floods_in_a_row: 0,
            broken: false,
            phase: Phase::Open,
            last: None,
            farewell: None,
        }
    }

    /// Serves until the connection is over.
    pub(crate) async fn run(mut self) {
        poll_fn(|context| self.poll_safely(context)).await;
        self.note_end();
        for ended in self.connection.finish() {
            self.shared.ended(ended);
        }
        let deadline = self.shared.limits.close_deadline;
        // The peer may be gone; then there is nobody to say it to.
        let _ = tokio::time::timeout(deadline, self.io.shutdown()).await;
    }

    /// A panic is the end of this connection, and of nothing else.
    fn poll_safely(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let panic = match catch_unwind(AssertUnwindSafe(|| self.poll(context))) {
            Ok(poll) => return poll,
            Err(panic) => panic,
        };
        panicked("a connection", &*panic);
        if std::mem::replace(&mut self.broken, true) {
            return Poll::Ready(());
        }
        self.close(close_code::INTERNAL, "the server has a bug");
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let connection = self.connection.clone();
        connection.register(context.waker());
        loop {
            if connection.is_cut() {
                return Poll::Ready(());
            }
            self.close_if_due();
            let flushed = match self.poll_write(context) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => false,
            };
            match self.phase {
                Phase::Answered if flushed => return Poll::Ready(()),
                Phase::Answering(_) | Phase::Answered => return Poll::Pending,
                Phase::Failing { told: false } if flushed => {
                    let end = Pin::new(&mut self.io).poll_shutdown(context);
                    if end.is_ready() {
                        self.phase = Phase::Failing { told: true };
                    }
                }
                Phase::Over => return Poll::Ready(()),
                Phase::Open | Phase::Closing | Phase::Failing { .. } => {}
            }
            if connection.pauses(&self.shared.limits) {
                return Poll::Pending;
            }
            match self.poll_read(context) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                // What was queued since the write is written first.
                Poll::Pending if flushed && connection.outbox.has_frames() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let connection = &self.connection;
        let now = self.shared.uptime_ms();
        let progress = || connection.vitals.writing_since(Some(now));
        let io = Pin::new(&mut self.io);
        let sent = |frame: &Frame| self.shared.note_sent(frame);
        let outcome = self.writer.poll(context, io, &connection.outbox, progress, sent);
        match outcome {
            Poll::Ready(_) => connection.vitals.writing_since(None),
            Poll::Pending => connection.vitals.writing_at_least_since(now),
        }
        outcome
    }

    /// Reads once; false at the end.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(false);
            }
            self.received(buffer.filled());
            Poll::Ready(true)
        })
    }

    fn received(&mut self, mut bytes: &[u8]) {
        let now = self.shared.uptime_ms();
        self.connection.vitals.heard(now);
        loop {
            match self.decoder.feed(&mut bytes) {
                Ok(Some(event)) => self.event(event, now),
                Ok(None) => break,
                Err(violation) => {
                    metrics::counter!("muster_gateway_violations_total").increment(1);
                    self.close(violation.close_code(), &violation.to_string());
                    self.phase = match self.phase {
                        Phase::Closing => Phase::Failing { told: false },
                        other => other,
                    };
                    break;
                }
            }
        }
        self.connection.vitals.message(now, self.decoder.is_idle());
        if self.charge.set(self.decoder.held_bytes()).is_err() {
            self.close(close_code::TRY_AGAIN_LATER, "the server is short of memory");
            self.phase = Phase::Over;
        }
    }

    fn event(&mut self, event: Event, now: u64) {
        match event {
            Event::Binary(data) => self.message(data),
            Event::Text => self.close(close_code::UNSUPPORTED, "only binary messages are taken"),
            Event::Ping(payload) => self.push(Frame::pong(&payload)),
            Event::Pong(payload) => self.connection.pong(&payload),
            Event::Close(code) => {
                self.farewell.get_or_insert((Fact::ClosedByAgent, code.unwrap_or(0)));
                self.phase = match self.phase {
                    Phase::Open => Phase::Answering(code),
                    Phase::Closing
                    | Phase::Failing { .. }
                    | Phase::Answering(_)
                    | Phase::Answered
                    | Phase::Over => Phase::Over,
                };
                self.connection.vitals.closing_at_least_since(now);
            }
        }
    }

    fn message(&mut self, data: Vec<u8>) {
        self.connection.vitals.spoken();
        let mut charge = self.shared.budget.open();
        let data = Bytes::from(data);
        if charge.set(data.len()).is_err() {
            let uid = envelope::body(&data).map_or_else(|_| Vec::new(), reply::salvage_uid);
            self.note_refused(&uid, &data);
            let reply = self.shared.out_of_memory(uid);
            return self.push(Frame::message(reply, Kind::Unique));
        }
        let pass = self.connection.pass.as_deref();
        let checked = |message: Incoming| match pass.map(|pass| pass.check(&message)) {
            Some(Err(refused)) => Err(refused),
            Some(Ok(())) | None => Ok(message),
        };
        match read(&data, charge, &self.shared).and_then(checked) {
            Ok(incoming) => {
                self.shared.note_heard(&self.connection, &incoming);
                self.last = Some(incoming.uid);
                self.malformed_in_a_row = 0;
                let floods = std::mem::take(&mut self.floods_in_a_row);
                self.submit(incoming, floods);
            }
            Err(refused) => {
                self.note_refused(&refused.uid, &data);
                self.refuse(refused);
            }
        }
    }

    fn submit(&mut self, incoming: Incoming, floods: u32) {
        let (uid, sequence_num) = (incoming.uid, incoming.sequence_num);
        let shared = &self.shared;
        match self.connection.submit(incoming, shared) {
            Submitted::Answered { epoch } => {
                metrics::counter!("muster_gateway_heartbeats_total").increment(1);
                if epoch != 0 {
                    shared.presence.note(uid, epoch, sequence_num, shared.clock.now());
                }
                let body = shared.heartbeat_tail.clone();
                self.push(Frame::addressed(&uid, body, Kind::Heartbeat(uid)));
            }
            Submitted::Begun => {
                let connection = self.connection.clone();
                shared.spawn(ask::work(shared.clone(), connection, uid));
            }
            Submitted::Queued => {}
            Submitted::Flood => self.flooded(uid, floods + 1),
            Submitted::TooMany => self.refuse(Refused {
                uid: uid.as_bytes().to_vec(),
                text: "too many agents on one connection".to_owned(),
                undecodable: false,
            }),
        }
    }

    /// An agent says too much: the first time it is told so, and if it goes on it must go.
    fn flooded(&mut self, uid: InstanceUid, floods: u32) {
        Reason::Flood.count();
        self.floods_in_a_row = floods;
        if floods < self.shared.limits.floods_in_a_row_max {
            let reply = self.shared.unavailable(uid.as_bytes().to_vec());
            return self.push(Frame::message(reply, Kind::Error(uid)));
        }
        let reply = self.shared.banish(&uid);
        self.push(Frame::message(reply, Kind::Error(uid)));
        self.close(close_code::TRY_AGAIN_LATER, "too many messages");
    }

    fn refuse(&mut self, mut refused: Refused) {
        metrics::counter!("muster_gateway_malformed_total").increment(1);
        if refused.uid.is_empty() {
            refused.uid = self.connection.only_agent().unwrap_or_default();
        }
        tracing::debug!(peer = %self.connection.peer, reason = refused.text, "message refused");
        let reply = reply::bad_request(refused.uid, refused.text);
        self.push(Frame::message(reply, Kind::Unique));
        self.malformed_in_a_row += 1;
        if self.malformed_in_a_row >= self.shared.limits.malformed_in_a_row_max {
            self.close(close_code::POLICY, "too many malformed messages in a row");
        }
    }

    /// Queues a frame of this task's own: reading stops before these are too many.
    fn push(&mut self, frame: Frame) {
        // Sealed: the connection closes and there is nobody to say it to.
        let _ = self.connection.outbox.push(frame, usize::MAX);
    }

    /// Closes from this side, at once.
    fn close(&mut self, code: u16, reason: &str) {
        if self.phase == Phase::Open {
            tracing::debug!(peer = %self.connection.peer, code, reason, "connection closed");
            self.connection.outbox.push_last(Frame::close(Some(code), reason));
            self.farewell.get_or_insert((Fact::ClosedByServer, code));
            self.connection.vitals.closing_at_least_since(self.shared.uptime_ms());
            self.phase = Phase::Closing;
        }
    }

    /// Queues the close that was asked for, or the answer to the peer's, once no reply is in
    /// flight any more or the grace is over.
    fn close_if_due(&mut self) {
        let asked = self.connection.close_asked();
        let (frame, next) = match (self.phase, asked) {
            (Phase::Answering(code), _) => (Frame::close(code, ""), Phase::Answered),
            (Phase::Open, Some(code)) => (Frame::close(Some(code), ""), Phase::Closing),
            (Phase::Open, None)
            | (Phase::Closing | Phase::Failing { .. } | Phase::Answered | Phase::Over, _) => return,
        };
        let now = self.shared.uptime_ms();
        self.connection.vitals.closing_at_least_since(now);
        if self.connection.may_close() {
            if let (Phase::Open, Some(code)) = (self.phase, asked) {
                self.farewell.get_or_insert((Fact::ClosedByServer, code));
            }
            self.connection.outbox.push_last(frame);
            self.phase = next;
        }
    }
}

impl<IO> Socket<IO> {
    /// What cannot be taken is remembered too, for whom it is from as far as that can be told.
    fn note_refused(&mut self, uid: &[u8], data: &[u8]) {
        let uid = InstanceUid::try_from(uid).ok().or(self.last);
        self.last = uid;
        let body = envelope::body(data).unwrap_or(data);
        self.shared.note_in(uid.unwrap_or(NOBODY), Transport::WebSocket, body);
    }

    /// How it ended, for each agent that was here.
    fn note_end(&mut self) {
        let (fact, code) = self.farewell.take().unwrap_or((Fact::Broken, 0));
        let mut last = self.last.take();
        self.connection.each_session(|session| {
            last = last.filter(|last| *last != session.uid);
            self.shared.note_fact(session.uid, fact, session.epoch(), code);
        });
        if let Some(uid) = last {
            self.shared.note_fact(uid, fact, 0, code);
        }
    }
}

fn read(data: &Bytes, charge: Charge, shared: &Shared) -> Result<Incoming, Refused> {
    let body = envelope::body(data).map_err(|malformed| Refused {
        uid: Vec::new(),
        text: malformed.to_string(),
        undecodable: true,
    })?;
    let body = data.slice_ref(body);
    Incoming::read(body, charge, &shared.limits)
}

impl<IO> Drop for Socket<IO> {
    /// However the task ends, its frames' waiters and its sessions learn of it.
    fn drop(&mut self) {
        if self.last.is_some() {
            self.note_end();
        }
        for ended in self.connection.finish() {
            self.shared.ended(ended);
        }
        self.shared.connections.remove(self.connection.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    /// A gateway holds 100,000 of these: what grows here is felt.
    #[test]
    fn an_idle_connection_is_small() {
        type Io = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;
        let sizes = [size_of::<Socket<Io>>(), size_of::<Connection>(), size_of::<Session>()];
        assert!(sizes.iter().sum::<usize>() <= 1_024, "{sizes:?}");
    }
}
