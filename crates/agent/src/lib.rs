//! A reference OpAMP agent: what a client of any OpAMP server does, done by the letter.
//!
//! ```text
//!   core (pure): what to say next, what a reply means ◄─► link: WebSocket or HTTP ◄─► a server
//!        └─► ledger: what was sent, received, applied
//! ```
//!
//! It serves `muster demo`, tests, the simulator and the load generator, and knows nothing of
//! Muster. The core has no clock and no randomness of its own: the simulator drives it too.

pub mod core;
mod error;
mod install;
pub mod ledger;
mod limits;
pub mod link;
mod run;
pub mod swarm;

pub use crate::core::{Agent, Settings};
pub use error::Error;
pub use ledger::Ledger;
pub use run::{Handle, start, start_at, start_installing};
