//! What is refused, and that nothing secret is shown.

use opamp::v1::{Header, Headers, ProxyConnectionSettings, TlsConnectionSettings};

use super::*;

const SECRET: &str = "hunter2";
const CERT: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";

fn headers(key: &str, value: &str) -> Option<Headers> {
    Some(Headers { headers: vec![Header { key: key.to_owned(), value: value.to_owned() }] })
}

fn opamp() -> OpAmpConnectionSettings {
    OpAmpConnectionSettings {
        destination_endpoint: "wss://user:hunter2@muster:4320/v1/opamp?key=hunter2".to_owned(),
        headers: headers("authorization", "Bearer hunter2"),
        certificate: Some(TlsCertificate {
            cert: CERT.into(),
            private_key: KEY.replace("MA==", SECRET).into(),
            ca_cert: Vec::new(),
        }),
        heartbeat_interval_seconds: 30,
        tls: Some(TlsConnectionSettings {
            ca_pem_contents: CERT.to_owned(),
            min_version: "1.2".to_owned(),
            max_version: "TLSv1.3".to_owned(),
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
            ..Default::default()
        }),
        proxy: Some(ProxyConnectionSettings {
            url: "http://user:hunter2@proxy:3128".to_owned(),
            connect_headers: headers("proxy-authorization", "Basic hunter2"),
        }),
    }
}

fn telemetry(endpoint: &str) -> Settings {
    Settings::Telemetry(TelemetryConnectionSettings {
        destination_endpoint: endpoint.to_owned(),
        headers: headers("x-api-key", SECRET),
        ..Default::default()
    })
}

fn other() -> OtherConnectionSettings {
    OtherConnectionSettings {
        other_settings: [("password".to_owned(), SECRET.to_owned())].into(),
        ..Default::default()
    }
}

fn kafka() -> Class {
    Class::Other("kafka".to_owned())
}

/// The field that is wrong after a change; empty if nothing is.
fn wrong(change: impl FnOnce(&mut OpAmpConnectionSettings)) -> &'static str {
    let mut settings = opamp();
    change(&mut settings);
    let checked = Settings::OpAmp(settings).check(&Class::OpAmp, Rules::default());
    checked.err().map_or("", |fault| {
        assert!(!fault.to_string().contains(SECRET), "{fault}");
        fault.field
    })
}

fn tls(settings: &mut OpAmpConnectionSettings) -> &mut TlsConnectionSettings {
    settings.tls.as_mut().unwrap()
}

fn certificate(settings: &mut OpAmpConnectionSettings) -> &mut TlsCertificate {
    settings.certificate.as_mut().unwrap()
}

#[test]
fn each_fault_is_named_by_its_field() {
    assert_eq!(wrong(|_| ()), "");
    for endpoint in ["", "muster:4320", "ftp://h/hunter2", "wss://", "wss:// h"] {
        assert_eq!(wrong(|it| it.destination_endpoint = endpoint.into()), "destination_endpoint");
    }
    assert_eq!(wrong(|it| it.heartbeat_interval_seconds = 86_401), "heartbeat_interval_seconds");
    assert_eq!(wrong(|it| it.heartbeat_interval_seconds = 0), "", "no heartbeats");
    for (key, value) in [("", "x"), ("a b", "hunter2"), ("a", "hunter2\r\nx: y"), ("a", "é")] {
        assert_eq!(wrong(|it| it.headers = headers(key, value)), "headers", "{key} {value}");
    }
    assert_eq!(wrong(|it| it.headers = headers("a", &"x".repeat(65 << 10))), "headers");
    let many = Headers { headers: vec![Header { key: "a".into(), value: String::new() }; 65] };
    assert_eq!(wrong(|it| it.headers = Some(many)), "headers");
    for url in ["", "proxy:3128", "ftp://proxy"] {
        assert_eq!(wrong(|it| it.proxy.as_mut().unwrap().url = url.into()), "proxy.url");
    }
    let bad = |it: &mut OpAmpConnectionSettings| {
        it.proxy.as_mut().unwrap().connect_headers = headers("", SECRET);
    };
    assert_eq!(wrong(bad), "proxy.connect_headers");
}

#[test]
fn certificates_are_whole_and_keep_their_keys_apart() {
    assert_eq!(wrong(|it| certificate(it).cert.clear()), "certificate.cert");
    assert_eq!(wrong(|it| certificate(it).private_key.clear()), "certificate.private_key");
    assert_eq!(wrong(|it| certificate(it).ca_cert = SECRET.into()), "certificate.ca_cert");
    let both = format!("{CERT}{KEY}");
    assert_eq!(wrong(|it| certificate(it).cert = both.into()), "certificate.cert");
    let rsa = KEY.replace("PRIVATE", "RSA PRIVATE");
    assert_eq!(wrong(|it| certificate(it).private_key = rsa.into()), "");
    assert_eq!(wrong(|it| tls(it).ca_pem_contents = KEY.into()), "tls.ca_pem_contents");
}

#[test]
fn versions_of_tls_are_known_and_in_order() {
    assert_eq!(wrong(|it| tls(it).min_version = "TLS1.2".into()), "tls.min_version");
    assert_eq!(wrong(|it| tls(it).max_version = "1.4".into()), "tls.max_version");
    assert_eq!(wrong(|it| tls(it).max_version = "1.1".into()), "tls.max_version");
    assert_eq!(wrong(|it| tls(it).cipher_suites[0].clear()), "tls.cipher_suites");
}

#[test]
fn telemetry_goes_to_a_whole_url_and_in_private() {
    let said = |endpoint: &str, allow_http| {
        telemetry(endpoint).check(&Class::OwnMetrics, Rules { allow_http }).is_ok()
    };
    assert!(said("https://h:4318/v1/metrics", false));
    assert!(said("http://127.0.0.1:4318/v1/metrics", false), "on this machine");
    for bad in ["h:4318", "https://h:4318", "https://h:4318/", "grpc://h/v1/metrics", ""] {
        assert!(!said(bad, true), "{bad}");
    }
    assert!(!said("http://h:4318/v1/metrics", false) && said("http://h:4318/v1/metrics", true));
}

#[test]
fn other_settings_are_partial_but_not_nothing() {
    let check = |settings| Settings::Other(settings).check(&kafka(), Rules::default());
    assert_eq!(check(other()), Ok(()));
    assert_eq!(check(OtherConnectionSettings::default()).unwrap_err().field, "other");
    let settings = Settings::Other(other());
    let fault = settings.check(&Class::OwnLogs, Rules::default()).unwrap_err();
    assert_eq!(fault.field, "class");
}

#[test]
fn what_is_shown_holds_no_secret_and_still_tells_settings_apart() {
    for settings in [
        Settings::OpAmp(opamp()),
        telemetry("https://u:hunter2@h/v1/metrics"),
        Settings::Other(other()),
    ] {
        assert!(!format!("{settings:?}").contains(SECRET));
        let shown = settings.clone().shown();
        assert_ne!(shown, settings);
        let bytes = shown.encode();
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET));
        assert!(shown.certificate().is_none());
    }
    let Settings::OpAmp(shown) = Settings::OpAmp(opamp()).shown() else { panic!("another kind") };
    assert_eq!(shown.headers, headers("authorization", wire::REDACTED));
    assert_eq!(shown.heartbeat_interval_seconds, 30);
}

#[test]
fn an_offer_has_each_class_in_its_place_and_a_name_of_its_own() {
    let classes = [Class::OwnMetrics, Class::OwnTraces, Class::OwnLogs];
    let settings = telemetry("https://h/v1/x");
    let mut offers = ConnectionSettingsOffers::default();
    classes.iter().for_each(|class| settings.clone().offer(class, &mut offers));
    Settings::OpAmp(opamp()).offer(&Class::OpAmp, &mut offers);
    Settings::Other(other()).offer(&kafka(), &mut offers);
    assert!(offers.own_metrics.is_some() && offers.own_traces.is_some());
    assert!(offers.own_logs.is_some() && offers.opamp.is_some());
    assert_eq!(offers.other_connections["kafka"], other());
    let names: std::collections::BTreeSet<_> =
        classes.iter().map(|class| settings.canonical(class)).collect();
    assert_eq!(names.len(), 3);
    let again = Settings::decode(&Class::OwnLogs, &settings.encode()).unwrap();
    assert_eq!(again.canonical(&Class::OwnLogs), settings.canonical(&Class::OwnLogs));
}
