//! Trace context across the bus: the sender's span goes out as W3C text, the receiver's span
//! takes it as its parent.

use std::collections::BTreeMap;

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, global};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::limits::TRACE_STATE_BYTES_MAX;
use crate::v1::Envelope;

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Injector for Fields {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Extractor for Fields {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Writes the current span's context into an envelope.
pub(crate) fn inject(envelope: &mut Envelope) {
    let mut fields = Fields::default();
    let context = tracing::Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut fields));
    envelope.traceparent = fields.0.remove("traceparent").unwrap_or_default();
    let state = fields.0.remove("tracestate").unwrap_or_default();
    envelope.tracestate = if state.len() > TRACE_STATE_BYTES_MAX { String::new() } else { state };
}

/// The sender's context, to be a span's parent.
pub(crate) fn extract(envelope: &Envelope) -> Context {
    if envelope.traceparent.is_empty() {
        return Context::new();
    }
    let mut fields = Fields::default();
    fields.set("traceparent", envelope.traceparent.clone());
    fields.set("tracestate", envelope.tracestate.clone());
    global::get_text_map_propagator(|propagator| propagator.extract(&fields))
}
