//! What settings must be before an agent is told them (rules CONN-05, CONN-09, CONN-10, CONN-11,
//! CONN-18). No fault repeats what was given: it may be secret.

use std::net::IpAddr;

use http::Uri;
use opamp::Message as _;
use opamp::v1::{Headers, ProxyConnectionSettings, TlsCertificate, TlsConnectionSettings};

use super::Settings;
use crate::check::{Fault, fault, is_of, url};
use crate::settings::Class;

/// Seconds between heartbeats at the most: beyond a day nobody would call it one.
pub const HEARTBEAT_SECONDS_MAX: u64 = 24 * 3600;

/// Headers, and other settings, at the most.
const PAIRS_MAX: usize = 64;
/// Bytes of names and values of all headers, or of all other settings.
const PAIRS_BYTES_MAX: usize = 64 << 10;
/// Bytes of a URL.
const URL_BYTES_MAX: usize = 4 << 10;
/// Bytes of a PEM file: more certificates than a chain has.
const PEM_BYTES_MAX: usize = 256 << 10;
/// Names of versions of TLS, as agents know them.
const VERSIONS: [&str; 4] = ["1.0", "1.1", "1.2", "1.3"];

/// What is left to the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Telemetry may cross the network in the clear.
    pub allow_http: bool,
}

impl Settings {
    /// Whether settings of a class may be offered.
    pub fn check(&self, class: &Class, rules: Rules) -> Result<(), Fault> {
        if !self.is_of(class) {
            return fault("class", format!("{class} takes other settings than these"));
        }
        match self {
            Self::OpAmp(it) => {
                opamp_endpoint(&it.destination_endpoint)?;
                if it.heartbeat_interval_seconds > HEARTBEAT_SECONDS_MAX {
                    let reason = format!("{HEARTBEAT_SECONDS_MAX} seconds at most, 0 for none");
                    return fault("heartbeat_interval_seconds", reason);
                }
                common(&it.headers, &it.certificate, &it.tls, &it.proxy)
            }
            Self::Telemetry(it) => {
                telemetry_endpoint(&it.destination_endpoint, rules)?;
                common(&it.headers, &it.certificate, &it.tls, &it.proxy)
            }
            Self::Other(it) => {
                if it.encoded_len() == 0 {
                    return fault("other", "there is nothing in it");
                }
                if it.destination_endpoint.len() > URL_BYTES_MAX {
                    return fault("destination_endpoint", format!("{URL_BYTES_MAX} bytes at most"));
                }
                let pairs = it.other_settings.iter();
                bounded("other_settings", pairs.map(|(key, value)| key.len() + value.len()))?;
                common(&it.headers, &it.certificate, &it.tls, &it.proxy)
            }
        }
    }
}

fn opamp_endpoint(endpoint: &str) -> Result<(), Fault> {
    const FIELD: &str = "destination_endpoint";
    if endpoint.len() > URL_BYTES_MAX {
        return fault(FIELD, format!("{URL_BYTES_MAX} bytes at most"));
    }
    match url(endpoint, &["ws", "wss", "http", "https"]) {
        Some(_) => Ok(()),
        None => fault(
            FIELD,
            "must be a ws, wss, http or https URL with a host, as wss://muster:4320/v1/opamp, \
             even where only something else changes",
        ),
    }
}

fn telemetry_endpoint(endpoint: &str, rules: Rules) -> Result<(), Fault> {
    const FIELD: &str = "destination_endpoint";
    if endpoint.len() > URL_BYTES_MAX {
        return fault(FIELD, format!("{URL_BYTES_MAX} bytes at most"));
    }
    let url = url(endpoint, &["http", "https"]);
    let Some(url) = url.filter(|url| url.path().len() > 1) else {
        return fault(
            FIELD,
            "must be a whole OTLP/HTTP URL with its path, as https://otel:4318/v1/metrics",
        );
    };
    if is_of(&url, "http") && !is_local(&url) && !rules.allow_http {
        return fault(
            FIELD,
            "should be https: agents may refuse http, and headers would cross the network in the \
             clear; allow_http takes it all the same",
        );
    }
    Ok(())
}

/// Whether it stays on the machine.
fn is_local(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

fn common(
    headers: &Option<Headers>,
    certificate: &Option<TlsCertificate>,
    tls: &Option<TlsConnectionSettings>,
    proxy: &Option<ProxyConnectionSettings>,
) -> Result<(), Fault> {
    headers.iter().try_for_each(|it| check_headers("headers", it))?;
    certificate.iter().try_for_each(check_certificate)?;
    tls.iter().try_for_each(check_tls)?;
    proxy.iter().try_for_each(|proxy| {
        let url = url(&proxy.url, &["http", "https", "socks5"]);
        if url.is_none() || proxy.url.len() > URL_BYTES_MAX {
            return fault("proxy.url", "must be an http, https or socks5 URL with a host");
        }
        proxy.connect_headers.iter().try_for_each(|it| check_headers("proxy.connect_headers", it))
    })
}

fn check_headers(field: &'static str, headers: &Headers) -> Result<(), Fault> {
    let name_like = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let value_like = |c: char| c == '\t' || (c.is_ascii() && !c.is_control());
    for (number, header) in (1..).zip(&headers.headers) {
        if header.key.is_empty() || !header.key.bytes().all(name_like) {
            return fault(field, format!("the name of header {number} is no header name"));
        }
        if !header.value.chars().all(value_like) {
            let reason = "must be plain ASCII without line ends";
            return fault(field, format!("the value of header {number} {reason}"));
        }
    }
    bounded(field, headers.headers.iter().map(|it| it.key.len() + it.value.len()))
}

fn bounded(field: &'static str, sizes: impl Iterator<Item = usize>) -> Result<(), Fault> {
    let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    match (count > PAIRS_MAX, bytes > PAIRS_BYTES_MAX) {
        (true, _) => fault(field, format!("{count} of them, {PAIRS_MAX} at most")),
        (_, true) => fault(field, format!("{bytes} bytes, {PAIRS_BYTES_MAX} at most")),
        _ => Ok(()),
    }
}

fn check_certificate(certificate: &TlsCertificate) -> Result<(), Fault> {
    pem("certificate.cert", &certificate.cert, "CERTIFICATE", true)?;
    pem("certificate.private_key", &certificate.private_key, "PRIVATE KEY", true)?;
    pem("certificate.ca_cert", &certificate.ca_cert, "CERTIFICATE", false)
}

/// A file with blocks of one kind and no other: a key in the file of a certificate would be shown.
fn pem(field: &'static str, bytes: &[u8], kind: &str, required: bool) -> Result<(), Fault> {
    if bytes.is_empty() && !required {
        return Ok(());
    }
    if bytes.len() > PEM_BYTES_MAX {
        return fault(field, format!("{PEM_BYTES_MAX} bytes at most"));
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let begins = |line: &&str| line.trim().starts_with("-----BEGIN ");
    let blocks: Vec<&str> = text.lines().filter(begins).map(str::trim).collect();
    if blocks.is_empty() {
        return fault(field, format!("there is no {kind} in it, as PEM"));
    }
    let wanted = |line: &&str| line.ends_with(&format!("{kind}-----"));
    match blocks.iter().all(wanted) {
        true => Ok(()),
        false => fault(field, format!("there is something else than a {kind} in it")),
    }
}

fn check_tls(tls: &TlsConnectionSettings) -> Result<(), Fault> {
    pem("tls.ca_pem_contents", tls.ca_pem_contents.as_bytes(), "CERTIFICATE", false)?;
    let min = version("tls.min_version", &tls.min_version)?;
    let max = version("tls.max_version", &tls.max_version)?;
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return fault("tls.max_version", "is below min_version");
    }
    let named = |suite: &String| {
        !suite.is_empty() && suite.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    };
    if !tls.cipher_suites.iter().all(named) {
        return fault("tls.cipher_suites", "must be names, as TLS_AES_128_GCM_SHA256");
    }
    bounded("tls.cipher_suites", tls.cipher_suites.iter().map(String::len))
}

/// The place of a version among all; none if it is not given.
fn version(field: &'static str, text: &str) -> Result<Option<usize>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.strip_prefix("TLSv").unwrap_or(text);
    match VERSIONS.iter().position(|version| *version == number) {
        Some(place) => Ok(Some(place)),
        None => fault(field, "must be 1.0, 1.1, 1.2 or 1.3, or the same as TLSv1.2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_the_machine_is_told_apart() {
        let schemes = ["https", "http", "ws"];
        let local = |text: &str| is_local(&url(text, &schemes).unwrap());
        assert!(local("http://127.0.0.2") && local("http://[::1]/") && local("http://LocalHost/"));
        assert!(!local("http://127.0.0.1.example.org/"));
    }
}
