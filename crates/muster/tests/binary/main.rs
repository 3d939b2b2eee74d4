//! The built binary, from outside: what it prints, answers and returns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backup;
mod brake;
mod cluster;
mod doors;
mod files;
mod fleet;
mod life;
mod locked;
mod packages;
mod process;
mod secrets;
mod settings;
mod status;
mod trace;
mod words;
