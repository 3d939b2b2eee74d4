//! What a bus is made of that lives outside this crate, as the simulator's does: queues for what
//! was received, ways for answers, readers of a log. Speakers need none of it.

pub use crate::port::{Guard, Way};
pub use crate::queue::{Entrance, Exit};

/// What waits in one subscription: the backend's end, and the end that makes a
/// [`Subscription`](crate::Subscription). What finds no room is dropped.
pub fn queue(capacity: usize) -> (Entrance, Exit) {
    crate::queue::queue(capacity, Default::default())
}
