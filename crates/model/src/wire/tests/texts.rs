//! Bodies and free text: what goes, and what stays.

use proptest::prelude::*;

use super::super::mask;

/// Texts with CANARY where a secret is.
const SECRETS: &[&str] = &[
    "password: CANARY",
    "  password:   'CANARY'   # comment",
    "password: \"CANARY\n  CANARY\"\nok: 1",
    "password: 'CANARY\nCANARY'\nok: 1",
    "password: |\n  CANARY\n\n  CANARY\nok: 1",
    "password: >-\n  CANARY\nok: 1",
    "a:\n  - password: CANARY\n    user: bob\n  - secret:\n      deep:\n        - CANARY",
    "tokens:\n- CANARY\n- CANARY\nok: 1",
    "tokens: [a, CANARY,\nCANARY,\n  CANARY]\nok: 1",
    "{\"user\":\"bob\",\"password\":\"CANARY\"}",
    "{\"credentials\": {\n\"user\": \"CANARY\",\n\"x\": {\"y\": \"CANARY\"}\n},\n\"ok\": 1}",
    "{\\\"password\\\":\\\"CANARY\\\"}",
    "DB_PASSWORD=CANARY",
    "export API_KEY='CANARY'",
    "API_KEY=\"CANARY\nCANARY\"\nok=1",
    "TOKEN=CANARY\\\nCANARY\nok=1",
    "[exporters.otlp.headers]\nteam = \"CANARY\"\n[ok]\nx = 1",
    "secret_key = \"\"\"\nCANARY\nCANARY\"\"\"\nok = 1",
    "headers:\n  x-honeycomb-team: CANARY\nok: 1",
    "Authorization: Basic CANARY",
    "curl -H \"Authorization: Bearer CANARY\"",
    "sent bearer CANARYCANARY to nobody",
    "jwt eyJhbGciOiJIUzI1NiJ9.CANARY.CANARY end",
    "args: [\"--token\", \"CANARY\"]",
    "args:\n  - --token\n  - CANARY\nok: 1",
    "run --api-key CANARY --verbose",
    "run --api-key=CANARY",
    "env:\n  - name: DB_PASSWORD\n    value: CANARY\n  - name: LEVEL\n    value: debug",
    "{\"name\": \"API_TOKEN\", \"value\": \"CANARY\"}",
    "url: https://bob:CANARY@host:8080/path",
    "postgres://bob:CANARY/CANARY@host/db",
    "redis://:CANARY?CANARY@host/0",
    "get https://host/p/http://bob:CANARY@other",
    "dsn: bob:CANARY@tcp(127.0.0.1:3306)/db",
    "connect bob:CANARY@tcp(127.0.0.1:3306)/db failed",
    "Server=db;User=bob;Password=CANARY;Timeout=3",
    "https://bucket/x?X-Amz-Signature=CANARY&b=CANARY",
    "see https://host/x?code=CANARY now",
    "<password>CANARY</password>",
    "-----BEGIN RSA PRIVATE KEY-----\nCANARY\nCANARY\n-----END RSA PRIVATE KEY-----\nok: 1",
    "key: |\n  -----BEGIN PRIVATE KEY-----\n  CANARY\n  -----END PRIVATE KEY-----\nok: 1",
    "Shared Secret: CANARY",
    "clientSecret: CANARY",
    "aws_secret_access_key = CANARY",
    "password:\n\tCANARY",
    "pass\u{300}word: x\nsecret : CANARY",
    "kafka:\n  auth:\n    plain_text: {user: u, password: CANARY}\nok: 1",
];

#[test]
fn secrets_are_masked_in_every_form_people_write_them() {
    for text in SECRETS {
        let masked = mask(text);
        assert!(!masked.contains("CANARY"), "{text}\n-- became --\n{masked}");
        assert!(masked.contains("[redacted]"), "{text}\n-- became --\n{masked}");
        if text.contains("ok: 1") {
            assert!(masked.contains("ok: 1"), "too much:\n{masked}");
        }
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 0.0.0.0:4317\n",
        "service:\n  pipelines:\n    traces: {receivers: [otlp], exporters: [debug]}\n",
        "{\"endpoint\": \"http://localhost:4318\", \"retries\": 3}",
        "LEVEL=debug\nPORT=8080",
        "cannot start: bind 127.0.0.1:4317: address already in use",
        "mail bob@example.com about it",
        "https://example.com/@scope/package",
        "",
        "\r\n\r\n",
    ] {
        assert_eq!(mask(text), text);
    }
}

#[test]
fn around_a_secret_everything_stays() {
    let text = "a: 1\nauth:\n  user: bob\n  deep:\n    - 1\nb: 2\n";
    let masked = "a: 1\nauth:\n  [redacted]\n  [redacted]\n    [redacted]\nb: 2\n";
    assert_eq!(mask(text), masked);
    let url = "endpoint: [redacted]@host:4317/v1";
    assert_eq!(mask("endpoint: https://b:p@host:4317/v1"), url.replace("[", "https://["));
    let env = "- name: PASSWORD\n  value: [redacted]\n- name: LEVEL\n  value: debug";
    assert_eq!(mask("- name: PASSWORD\n  value: x\n- name: LEVEL\n  value: debug"), env);
}

proptest! {
    /// Whatever stands around it.
    #[test]
    fn no_surroundings_uncover_a_secret(
        before in "[a-z0-9 :=\"'{}\\[\\],\n-]{0,40}",
        which in 0..SECRETS.len(),
        indent in 0..6usize,
    ) {
        let indent = " ".repeat(indent);
        let lines = SECRETS[which].lines().map(|line| format!("{indent}{line}\n"));
        let text = format!("{before}\n{}", lines.collect::<String>());
        let masked = mask(&text);
        prop_assert!(!masked.contains("CANARY"), "{text}\n-- became --\n{masked}");
    }
}
