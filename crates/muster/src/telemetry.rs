//! Logs, traces and metrics of the process. Trace context always travels, so that another
//! process may export what this one does not; spans leave only when an endpoint is given.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{LogFormat, Settings};
use crate::exit::Failure;
use crate::limits;

/// Upper bounds of every histogram of seconds: from one bus round trip to a drain.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds of every histogram of counts: batches and queues.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What has to be flushed at the end.
#[derive(Debug)]
pub(crate) struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Sets up logs and traces. Needs the runtime: the exporter's connection lives on it.
    pub(crate) fn start(settings: &Settings, process: &str) -> anyhow::Result<Self> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = provider(settings, process)?;
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("muster"))
            // Neither says anything about a request, and both cost at each span.
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Not the log's filter: quiet logs must not cut traces apart.
            .with_filter(LevelFilter::INFO);
        let filter = EnvFilter::builder()
            .parse(&settings.log_level)
            .map_err(|error| Failure::usage(format!("--log-level: {error}")))?;
        tracing_subscriber::registry()
            .with(traces)
            .with(logs(settings.log).with_filter(filter))
            .try_init()
            .context("setting up logs")?;
        Ok(Self { provider })
    }

    /// Sends what is left of the traces, within a bound.
    pub(crate) async fn finish(self) {
        let flush = move || self.provider.shutdown_with_timeout(limits::SPANS_FLUSH);
        let flushed = tokio::task::spawn_blocking(flush);
        let flushed = tokio::time::timeout(limits::SPANS_FLUSH, flushed).await;
        if let Ok(Ok(Err(error))) = flushed {
            tracing::warn!(%error, "last spans not exported");
        }
    }
}

fn provider(settings: &Settings, process: &str) -> anyhow::Result<SdkTracerProvider> {
    let builder = SdkTracerProvider::builder().with_resource(
        Resource::builder()
            .with_service_name("muster")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", process.to_owned()),
            ])
            .build(),
    );
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(builder.build());
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(5))
        .build()
        .context("setting up the traces' export")?;
    Ok(builder.with_batch_exporter(exporter).build())
}

type LogLayer<S> = Box<dyn tracing_subscriber::Layer<S> + Send + Sync>;

fn logs<S>(format: LogFormat) -> LogLayer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            layer.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Makes every crate's metrics visible to the handle.
pub(crate) fn metrics(roles: &[&'static str]) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), COUNTS)
        })
        .context("setting up histograms")?
        .install_recorder()
        .context("setting up metrics")?;
    metrics::describe_gauge!("muster_build_info", "1, labelled with what runs here");
    metrics::gauge!(
        "muster_build_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "roles" => roles.join(",")
    )
    .set(1);
    Ok(handle)
}
