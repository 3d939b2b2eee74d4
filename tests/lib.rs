//! Tests that need whole processes: see `conformance/` (every rule of OpAMP that Muster is held to,
//! on both of its forms), `cluster/` (what a cluster survives) and `interop/` (clients of others).
//! Here is what they share.

#![allow(clippy::unwrap_used, reason = "tests")]

use services::{Metrics, Muster};

/// What a process counts under a name, over all labels; 0 until it counts.
pub async fn metric(muster: &Muster, name: &str) -> f64 {
    let ops = muster.ops.clone();
    let reading = tokio::task::spawn_blocking(move || Metrics::read(&ops));
    reading.await.unwrap().unwrap().sum(name)
}
