//! Tests that need whole processes: see `conformance/` (every rule of OpAMP that Muster is held to,
//! on both of its forms), `cluster/` (what a cluster survives) and `interop/` (clients of others).
//! Here is what they share.

#![allow(clippy::unwrap_used, reason = "tests")]

use agent::link::{Endpoint, Poller};
use services::Muster;

/// What a process counts under a name, over all labels; 0 until it counts.
pub async fn metric(muster: &Muster, name: &str) -> f64 {
    let metrics = format!("{}/metrics", muster.ops);
    let answer = Poller::new(Endpoint::parse(&metrics).unwrap()).get().await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.sum()
}
