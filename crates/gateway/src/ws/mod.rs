//! WebSockets: one task per connection, which holds no buffer while nothing moves.

mod frame;
mod outbox;
mod parts;
mod socket;
mod writer;

pub(crate) use frame::{Frame, Kind, Stub, Ticket};
pub(crate) use outbox::{NotTaken, Outbox};
pub(crate) use parts::{Decisions, Parts};
pub(crate) use socket::Socket;
