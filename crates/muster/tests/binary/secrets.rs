//! Connection settings by the command line: secrets go in, and nothing brings them out again.

use serde_json::Value;

use crate::process::{Server, stderr};

const SECRET: &str = "binary-canary-7b1f";

#[test]
fn settings_are_applied_shown_assigned_and_deleted_and_their_secrets_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("metrics.yaml"));
    std::fs::write(dir.path().join("token"), SECRET).unwrap();
    let text = "class: own-metrics\nendpoint: https://otel:4318/v1/metrics\n\
                headers: { authorization: { value_file: token, prefix: 'Bearer ' } }\n";
    std::fs::write(&file, text).unwrap();
    let server = Server::serve(&data);
    server.wait_ready();
    let apply = ["settings", "apply", "metrics", "-f", file.to_str().unwrap()];
    assert_eq!(server.ok(&apply), "metrics@1\n");
    assert_eq!(server.ok(&apply), "metrics@1\n", "the same adds nothing");
    let told = server.ok(&["settings", "get", "metrics", "-o", "json"]);
    let value: Value = serde_json::from_str(&told).unwrap();
    let header = &value["revisions"][0]["settings"]["headers"][0];
    assert_eq!(
        (&header["name"], &header["value"]),
        (&"authorization".into(), &"[redacted]".into())
    );
    let table = server.ok(&["settings", "get", "metrics"]) + &server.ok(&["settings", "list"]);
    assert!(table.contains("metrics@1") && table.contains("https://otel:4318/v1/metrics"));
    assert!(!told.contains(SECRET) && !table.contains(SECRET));

    server.ok(&["assign", "set", "all", "-l", "", "--settings", "metrics", "--yes"]);
    let refused = server.client(&["settings", "delete", "metrics"]);
    assert!(!refused.status.success() && stderr(&refused).contains("assignments/all"));
    server.ok(&["assign", "remove", "all"]);
    server.ok(&["settings", "delete", "metrics"]);
    let gone = server.client(&["settings", "get", "metrics"]);
    assert_eq!(gone.status.code(), Some(3), "not found");
    let key = std::fs::read_to_string(data.join("secrets.key")).unwrap();
    assert_eq!(key.trim().len(), 64);
}
