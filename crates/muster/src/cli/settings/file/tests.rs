//! What files say, and that what is wrong is told without secrets.

use super::*;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("token", "hunter2\n");
    file("ca.pem", "CA");
    file("cert.pem", "CERT");
    file("key.pem", "KEY");
    dir
}

fn parse(dir: &Path, name: &str, text: &str) -> Result<Read, String> {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    read(path.to_str().unwrap()).map_err(|error| format!("{error:#}"))
}

const YAML: &str = "\
class: opamp
endpoint: wss://muster:4320/v1/opamp
heartbeat: 1m
headers:
  authorization: { value_file: token, prefix: 'Bearer ' }
  x-tenant: '7'
certificate: { cert_file: cert.pem, key_file: key.pem, ca_file: ca.pem }
tls: { ca_file: ca.pem, min_version: '1.2', cipher_suites: [A, B], include_system_ca: true }
proxy: { url: 'http://proxy:3128', headers: { proxy-authorization: { value_file: token } } }
";

#[test]
fn secrets_come_from_where_the_file_says() {
    let dir = folder();
    let read = parse(dir.path(), "s.yaml", YAML).unwrap();
    let Settings::Opamp(settings) = read.settings else { panic!("another class") };
    assert_eq!((read.class.as_str(), settings.heartbeat_interval_seconds), ("opamp", 60));
    let header = |key: &str, value: &str| Header { key: key.into(), value: value.into() };
    let expected = [header("authorization", "Bearer hunter2"), header("x-tenant", "7")];
    assert_eq!(settings.headers.unwrap().headers, expected);
    let certificate = settings.certificate.unwrap();
    assert_eq!((&certificate.cert[..], &certificate.private_key[..]), (&b"CERT"[..], &b"KEY"[..]));
    let tls = settings.tls.unwrap();
    assert_eq!((tls.ca_pem_contents.as_str(), tls.cipher_suites.len()), ("CA", 2));
    assert!(tls.include_system_ca_certs_pool && !tls.insecure_skip_verify);
    let proxy = settings.proxy.unwrap().connect_headers.unwrap();
    assert_eq!(proxy.headers, [header("proxy-authorization", "hunter2")]);
}

#[test]
fn an_agent_goes_on_beating_unless_it_is_told_not_to() {
    let dir = folder();
    for (text, seconds) in [("", 30), ("heartbeat: 0s\n", 0), ("heartbeat: 2m\n", 120)] {
        let read = parse(dir.path(), "s.yaml", &format!("class: opamp\n{text}")).unwrap();
        let Settings::Opamp(settings) = read.settings else { panic!("another class") };
        assert_eq!(settings.heartbeat_interval_seconds, seconds);
    }
}

#[test]
fn json_and_toml_say_the_same() {
    let dir = folder();
    let json =
        r#"{"class": "other/db", "settings": {"user": "u", "password": {"value_file": "token"}}}"#;
    let toml = "class = 'other/db'\n[settings]\nuser = 'u'\npassword = { value_file = 'token' }\n";
    for (name, text) in [("s.json", json), ("s.toml", toml)] {
        let read = parse(dir.path(), name, text).unwrap();
        let Settings::Other(settings) = read.settings else { panic!("another class") };
        assert_eq!(settings.other_settings["password"], "hunter2");
        assert_eq!((read.class.as_str(), settings.other_settings.len()), ("other/db", 2));
    }
}

#[test]
fn what_is_wrong_is_named_and_no_secret_repeated() {
    let dir = folder();
    for (text, says) in [
        ("class: nothing", "class must be opamp, own-metrics"),
        ("class: opamp\nheartbeat: hunter2", "heartbeat must be a time"),
        ("class: opamp\nheader: hunter2", "header is no setting here"),
        ("class: opamp\nheaders: hunter2", "headers must be a map"),
        ("class: opamp\nproxy: hunter2", "proxy must be a map"),
        ("class: opamp\nheaders: { a: 7 }", "headers.a must be text in quotes"),
        (
            "class: opamp\nheaders: { a: { value_env: MUSTER_NOT_SET } }",
            "MUSTER_NOT_SET is not set",
        ),
        ("class: opamp\nheaders: { a: { value_file: none } }", "No such file"),
        ("class: opamp\nheaders: { a: { value: hunter2 } }", "headers.a.value is no setting"),
        ("class: opamp\ntls: { min_version: 1 }", "tls.min_version must be text"),
        ("class: own-logs\nheartbeat: 30s", "heartbeat is no setting here"),
        ("class: [hunter2", "not YAML at line"),
    ] {
        let said = parse(dir.path(), "s.yaml", text).unwrap_err();
        assert!(said.contains(says) && !said.contains("hunter2"), "{text}: {said}");
    }
    let said = parse(dir.path(), "s.toml", "class = 'opamp'\nx = hunter2").unwrap_err();
    assert!(said.contains("not TOML at line 2") && !said.contains("hunter2"), "{said}");
}
