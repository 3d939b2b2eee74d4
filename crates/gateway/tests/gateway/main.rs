//! The gateway through real sockets, with an in-process bus and a stand-in for the workers, who
//! are the room's border.

#![expect(clippy::unwrap_used, reason = "tests stop at what they do not expect")]

mod admission;
mod agent;
mod commands;
mod credentials;
mod custom;
mod deliveries;
mod doors;
mod doubts;
mod field;
mod heartbeats;
mod lifecycle;
mod memory;
mod panics;
mod plain;
mod refusals;
mod shed;
mod trace;
