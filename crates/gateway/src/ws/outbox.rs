//! Frames waiting for a connection's task, bounded in bytes. Empty, it owns no heap memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Frame;

/// What is to be written to one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    /// Cost of the frames here and of those the writer has taken and not written.
    bytes: usize,
    sealed: bool,
}

/// Why a frame was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Too much is waiting.
    Full,
    /// The last frame is queued: the connection closes.
    Closing,
}

impl Outbox {
    /// Queues a frame unless `bytes_max` are waiting already. One frame of any size is taken, so
    /// that large ones travel at all.
    pub(crate) fn push(&self, frame: Frame, bytes_max: usize) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.sealed {
            return Err(NotTaken::Closing);
        }
        if state.bytes > bytes_max {
            return Err(NotTaken::Full);
        }
        state.bytes += frame.cost();
        state.frames.push_back(frame);
        Ok(())
    }

    /// Queues the last frame.
    pub(crate) fn push_last(&self, frame: Frame) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.sealed, true) {
            state.bytes += frame.cost();
            state.frames.push_back(frame);
        }
    }

    /// Everything queued, to be written. What is done with is to be released.
    pub(crate) fn take(&self) -> VecDeque<Frame> {
        std::mem::take(&mut self.state().frames)
    }

    /// A taken frame is written or gone.
    pub(crate) fn release(&self, cost: usize) {
        self.state().bytes -= cost;
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.state().frames.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// The connection is over: nothing more is taken, and who waits for a frame learns it.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.sealed = true;
        state.frames = VecDeque::new();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_until_frames_are_written() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(Frame::message(vec![0; 50].into()), 100), Ok(()));
        assert_eq!(outbox.push(Frame::ping(1), 100), Err(NotTaken::Full));
        let taken = outbox.take();
        assert_eq!(outbox.push(Frame::ping(1), 100), Err(NotTaken::Full), "taken is not written");
        taken.iter().for_each(|frame| outbox.release(frame.cost()));
        assert_eq!(outbox.push(Frame::ping(1), 100), Ok(()));
    }

    #[test]
    fn takes_nothing_after_the_last_frame() {
        let outbox = Outbox::default();
        outbox.push_last(Frame::close(None, ""));
        outbox.push_last(Frame::close(None, ""));
        assert_eq!(outbox.push(Frame::ping(1), 1000), Err(NotTaken::Closing));
        assert_eq!(outbox.take().len(), 1);
    }
}
