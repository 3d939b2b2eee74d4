//! What waits in a subscription, bounded in messages and in bytes. A message that finds no room
//! is dropped and counted: the sender of something important has a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::limits::QUEUE_BYTES_MAX;
use crate::port::Inbound;
use crate::traffic::Traffic;

/// The backend's end.
#[derive(Debug, Clone)]
pub struct Entrance {
    sender: mpsc::Sender<Inbound>,
    bytes: Arc<AtomicUsize>,
    traffic: Arc<Traffic>,
}

/// The subscriber's end.
#[derive(Debug)]
pub struct Exit {
    receiver: mpsc::Receiver<Inbound>,
    bytes: Arc<AtomicUsize>,
}

/// A queue of at least one message.
pub(crate) fn queue(capacity: usize, traffic: Arc<Traffic>) -> (Entrance, Exit) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let bytes = Arc::<AtomicUsize>::default();
    (Entrance { sender, bytes: bytes.clone(), traffic }, Exit { receiver, bytes })
}

impl Entrance {
    /// Takes a message in, or drops and counts it.
    pub fn offer(&self, inbound: Inbound) {
        let size = inbound.payload.len();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        let refused = if before > 0 && before + size > QUEUE_BYTES_MAX {
            Some(TrySendError::Full(inbound))
        } else {
            self.sender.try_send(inbound).err()
        };
        if let Some(refused) = refused {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            if matches!(refused, TrySendError::Full(_)) {
                self.traffic.dropped();
            }
        }
    }
}

impl Exit {
    pub(crate) async fn next(&mut self) -> Option<Inbound> {
        let inbound = self.receiver.recv().await?;
        self.bytes.fetch_sub(inbound.payload.len(), Ordering::Relaxed);
        Some(inbound)
    }

    pub(crate) fn try_next(&mut self) -> Option<Inbound> {
        let inbound = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(inbound.payload.len(), Ordering::Relaxed);
        Some(inbound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_bound_what_waits_and_room_comes_back() {
        let traffic = Arc::<Traffic>::default();
        let (entrance, mut exit) = queue(1000, traffic.clone());
        let offer = || {
            let payload = vec![0; QUEUE_BYTES_MAX / 4].into();
            entrance.offer(Inbound { payload, reply: None });
        };
        (0..5).for_each(|_| offer());
        assert_eq!(traffic.counts().dropped, 1);
        assert!(exit.try_next().is_some());
        offer();
        assert_eq!(traffic.counts().dropped, 1);
        assert_eq!(std::iter::from_fn(|| exit.try_next()).count(), 4);
    }
}
