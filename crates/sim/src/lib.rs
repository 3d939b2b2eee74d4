//! A deterministic simulator. It runs the product's own gateways, workers and controls over a
//! simulated bus, store, clock and network, breaks things by seed, and decides the invariants.
//!
//! ```text
//!   operators ─► control ┐                        ┌ chaos: crash, pause, cut, drain, lose, step
//!                worker  ├─ line (bus) ─┐         │
//!   agents ─ wire ─► gateway ┘          ├─► world ┴ history ─► invariants
//!                     shelf (store) ────┘
//! ```
//!
//! One seed is one run on one thread with paused time: the same seed gives the same trace. Broken
//! variants decorate the seams ([`variants`]); no product code knows of any of this. What may not
//! enter: rules of the product, which are to be found in the product alone.

mod agents;
mod bus;
mod campaign;
mod chaos;
mod clock;
mod cluster;
mod dice;
mod history;
pub mod invariants;
mod judge;
mod limits;
mod log;
mod observe;
mod operators;
mod process;
mod run;
mod shelf;
pub mod variants;
mod weather;
mod wire;
mod world;

pub use campaign::{Campaign, Summary};
pub use judge::judge;
pub use run::{Outcome, Profile, run};
