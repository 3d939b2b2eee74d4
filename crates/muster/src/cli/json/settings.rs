//! Connection settings, as far as they are told.

use control::v1::connection_settings_revision::Settings;
use control::v1::{CertificateFacts, ConnectionSettingsRevision, NamedConnectionSettings};
use opamp::v1::{Headers, ProxyConnectionSettings, TlsConnectionSettings};
use serde_json::{Value, json};

use super::{hex, text, time};
use crate::cli::names::short;

pub(in crate::cli) fn settings(settings: &NamedConnectionSettings) -> Value {
    json!({
        "name": short(&settings.name),
        "class": settings.class,
        "revisions": settings.revisions.iter().map(settings_revision).collect::<Vec<_>>(),
    })
}

pub(in crate::cli) fn settings_revision(revision: &ConnectionSettingsRevision) -> Value {
    json!({
        "name": short(&revision.name),
        "revision": revision.revision,
        "class": revision.class,
        "created": time(revision.create_time.as_ref()),
        "actor": text(&revision.actor),
        "hash": hex(&revision.hash),
        "settings": revision.settings.as_ref().map(message),
        "certificate": revision.certificate.as_ref().map(certificate),
    })
}

/// Where they lead; empty if nowhere in particular.
pub(in crate::cli) fn settings_endpoint(revision: &ConnectionSettingsRevision) -> String {
    match &revision.settings {
        Some(Settings::Opamp(it)) => it.destination_endpoint.clone(),
        Some(Settings::Telemetry(it)) => it.destination_endpoint.clone(),
        Some(Settings::Other(it)) => it.destination_endpoint.clone(),
        None => String::new(),
    }
}

fn message(message: &Settings) -> Value {
    let common = |endpoint: &str, headers: &Option<Headers>, tls: &Option<_>, proxy: &Option<_>| {
        json!({
            "endpoint": text(endpoint),
            "headers": headers.as_ref().map(self::headers),
            "tls": tls.as_ref().map(self::tls),
            "proxy": proxy.as_ref().map(self::proxy),
        })
    };
    match message {
        Settings::Opamp(it) => {
            let mut value = common(&it.destination_endpoint, &it.headers, &it.tls, &it.proxy);
            value["heartbeat_interval_seconds"] = it.heartbeat_interval_seconds.into();
            value
        }
        Settings::Telemetry(it) => {
            common(&it.destination_endpoint, &it.headers, &it.tls, &it.proxy)
        }
        Settings::Other(it) => {
            let mut value = common(&it.destination_endpoint, &it.headers, &it.tls, &it.proxy);
            value["other_settings"] = json!(it.other_settings);
            value
        }
    }
}

fn headers(headers: &Headers) -> Value {
    let header = |it: &opamp::v1::Header| json!({ "name": it.key, "value": it.value });
    headers.headers.iter().map(header).collect()
}

fn tls(tls: &TlsConnectionSettings) -> Value {
    json!({
        "ca": text(&tls.ca_pem_contents),
        "include_system_ca": tls.include_system_ca_certs_pool,
        "insecure_skip_verify": tls.insecure_skip_verify,
        "min_version": text(&tls.min_version),
        "max_version": text(&tls.max_version),
        "cipher_suites": tls.cipher_suites,
    })
}

fn proxy(proxy: &ProxyConnectionSettings) -> Value {
    json!({ "url": proxy.url, "headers": proxy.connect_headers.as_ref().map(headers) })
}

fn certificate(facts: &CertificateFacts) -> Value {
    json!({
        "subject": text(&facts.subject),
        "not_before": time(facts.not_before.as_ref()),
        "not_after": time(facts.not_after.as_ref()),
        "sha256": hex(&facts.sha256),
        "key_sha256": hex(&facts.key_sha256),
    })
}
