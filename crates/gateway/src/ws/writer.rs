//! Writes frames as the socket takes them. Bodies are never copied, and nothing is kept once
//! everything is written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::{Frame, Outbox, Ticket};

/// Most frames handed to the socket at once.
const FRAMES_MAX: usize = 16;
/// Less than this in a write deadline is no progress. The slowest links in use move it in seconds.
const PROGRESS_BYTES_MIN: usize = 4 << 10;
/// A frame has a head and a body.
const PARTS_MAX: usize = 2 * FRAMES_MAX;

/// The frames of one connection that are being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written.
    offset: usize,
    /// Bytes written since progress was last told.
    moved: usize,
    /// Something is written and not flushed.
    unflushed: bool,
    /// Tickets of frames that are written and not flushed.
    tickets: Vec<Ticket>,
}

impl Writer {
    /// Writes and flushes everything in the outbox; ready once it is empty. `progress` is called
    /// whenever the socket took a noteworthy amount: a peer that reads a byte now and then is one
    /// that does not read. What the socket does not take goes back to the outbox, where newer
    /// frames may take its place. `written` is called with each frame that the socket took whole.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut io: Pin<&mut impl AsyncWrite>,
        outbox: &Outbox,
        mut progress: impl FnMut(),
        mut written: impl FnMut(&Frame),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.frames.is_empty() {
                self.frames = outbox.take(FRAMES_MAX);
            }
            self.skip_withdrawn(outbox);
            if self.frames.is_empty() {
                if outbox.has_frames() {
                    continue;
                }
                self.frames = VecDeque::new();
                outbox.flows();
                return self.poll_flush(context, io);
            }
            let Poll::Ready(taken) = self.poll_write(context, io.as_mut()) else {
                self.put_back(outbox);
                return Poll::Pending;
            };
            let taken = taken?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += taken;
            if self.moved >= PROGRESS_BYTES_MIN {
                self.moved = 0;
                progress();
            }
            self.advance(taken, outbox, &mut written);
        }
    }

    fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        io: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(io.poll_flush(context))?;
            self.unflushed = false;
            std::mem::take(&mut self.tickets).into_iter().for_each(Ticket::flushed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        io: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let (mut used, mut offset) = (0, self.offset);
        for frame in self.frames.iter().take(FRAMES_MAX) {
            if !frame.begin() {
                break;
            }
            for part in frame.parts(offset) {
                if !part.is_empty() {
                    parts[used] = IoSlice::new(part);
                    used += 1;
                }
            }
            offset = 0;
        }
        io.poll_write_vectored(context, &parts[..used])
    }

    /// The socket took nothing: frames that were to be written may be withdrawn again, but for one
    /// that is half written.
    fn put_back(&mut self, outbox: &Outbox) {
        let half_written = usize::from(self.offset > 0);
        // A withdrawn one stays so.
        let offered = self.frames.iter().skip(half_written);
        offered.filter(|frame| frame.begin()).for_each(Frame::put_back);
        outbox.stalled(self.frames.drain(half_written..));
    }

    fn advance(&mut self, mut taken: usize, outbox: &Outbox, written: &mut impl FnMut(&Frame)) {
        self.unflushed = true;
        while let Some(frame) = self.frames.front() {
            let left = frame.bytes() - self.offset;
            if taken < left {
                self.offset += taken;
                return;
            }
            taken -= left;
            self.offset = 0;
            written(frame);
            outbox.release(frame.cost());
            let ticket = self.frames.pop_front().and_then(Frame::into_ticket);
            self.tickets.extend(ticket);
        }
    }

    /// Drops withdrawn frames up to the first that is to be written.
    fn skip_withdrawn(&mut self, outbox: &Outbox) {
        while let Some(frame) = self.frames.front() {
            if self.offset > 0 || frame.begin() {
                return;
            }
            outbox.release(frame.cost());
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::ws::Kind;

    #[tokio::test]
    async fn writes_through_a_narrow_socket_and_then_tells_who_waits() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let outbox = Outbox::new(1 << 20);
        let (sent, mut stub) = Frame::message(vec![1; 100].into(), Kind::Unique).with_ticket();
        let (gone, gone_stub) = Frame::message(vec![2; 100].into(), Kind::Unique).with_ticket();
        let expected = [sent.parts(0).concat(), Frame::ping(3).parts(0).concat()].concat();
        for frame in [sent, gone, Frame::ping(3)] {
            outbox.push(frame, 10_000).unwrap();
        }
        assert!(gone_stub.withdraw());
        let mut writer = Writer::default();
        let write = async {
            poll_fn(|cx| writer.poll(cx, Pin::new(&mut near), &outbox, || (), |_| ()))
                .await
                .unwrap();
            assert!(stub.flushed.try_recv().is_ok());
            drop(near);
        };
        let mut received = Vec::new();
        let read = async { far.read_to_end(&mut received).await.unwrap() };
        tokio::join!(write, read);
        assert_eq!(received, expected);
        assert_eq!(outbox.bytes(), 0);
    }
}
