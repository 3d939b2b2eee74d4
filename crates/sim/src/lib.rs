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
mod chaos;
mod cluster;
mod clock;
mod dice;
mod history;
pub mod invariants;
mod limits;
mod log;
mod operators;
mod process;
mod observe;
mod campaign;
mod run;
mod shelf;
pub mod variants;
mod weather;
mod wire;
mod world;

pub use campaign::{Campaign, Summary};
pub use run::{Outcome, Profile, run};
