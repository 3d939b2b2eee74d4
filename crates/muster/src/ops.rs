//! The ops port: is the process up, is it ready, what does it count. For probes and scrapers;
//! nothing about agents, nothing that changes anything.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::limits;

/// Says whether one role can do its work now.
pub(crate) type Probe = Box<dyn Fn() -> bool + Send + Sync>;

/// Whether this process wants work.
pub(crate) struct Readiness {
    probes: Vec<(&'static str, Probe)>,
    /// Cancelled when the process begins to end.
    draining: CancellationToken,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.waits_for()).finish()
    }
}

impl Readiness {
    /// Ready when all probes say so and nothing is draining.
    pub(crate) fn new(probes: Vec<(&'static str, Probe)>, draining: CancellationToken) -> Self {
        Self { probes, draining }
    }

    /// Its roles, and whether each can do its work.
    pub(crate) fn roles(&self) -> Vec<(&'static str, bool)> {
        self.probes.iter().map(|(name, ready)| (*name, ready())).collect()
    }

    /// Whether the process begins to end.
    pub(crate) fn draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the process begins to end.
    pub(crate) async fn begins_to_end(&self) {
        self.draining.cancelled().await;
    }

    /// What stands between this process and its work.
    fn waits_for(&self) -> Vec<&'static str> {
        if self.draining.is_cancelled() {
            return vec!["draining"];
        }
        self.probes.iter().filter(|(_, ready)| !ready()).map(|(name, _)| *name).collect()
    }
}

#[derive(Clone)]
struct Ops {
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
}

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = router(readiness, metrics.clone());
    let server =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let server = server.into_future();
    tokio::select! {
        biased;
        () = upkeep(&metrics) => unreachable!("upkeep has no end"),
        // A scraper that keeps its connection open must not hold up the end.
        () = stop.cancelled() => Ok(()),
        ended = server => Ok(ended?),
    }
}

fn router(readiness: Arc<Readiness>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Ops { readiness, metrics })
}

async fn readyz(State(ops): State<Ops>) -> impl IntoResponse + use<> {
    let waits_for = ops.readiness.waits_for();
    if waits_for.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        let body = format!("not ready: {}\n", waits_for.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

async fn scrape(State(ops): State<Ops>) -> impl IntoResponse + use<> {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], ops.metrics.render())
}

async fn upkeep(metrics: &PrometheusHandle) {
    let mut ticks = tokio::time::interval(limits::METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_role_that_is_not_ready() {
        let draining = CancellationToken::new();
        let probes: Vec<(_, Probe)> =
            vec![("gateway", Box::new(|| true)), ("control", Box::new(|| false))];
        let readiness = Readiness::new(probes, draining.clone());
        assert_eq!(readiness.waits_for(), ["control"]);
        draining.cancel();
        assert_eq!(readiness.waits_for(), ["draining"]);
    }
}
