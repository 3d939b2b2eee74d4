//! SIGTERM and SIGINT: the first asks the process to end, the second makes it.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to end.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over both signals from here on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process here and now, with the code shells use for an interrupt.
pub(super) fn end_at_once() -> ! {
    tracing::warn!("told twice: ending at once");
    std::process::exit(130)
}
