//! Packages by the command line: versions, sets of them, and who is in the way of deleting.

use serde_json::Value;

use crate::process::{Server, stderr};

const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn packages_are_kept_put_together_assigned_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (data, path) = (dir.path().join("data"), dir.path().join("collector.yaml"));
    std::fs::write(dir.path().join("collector.sig"), "signed").unwrap();
    let url = "https://releases.example.org/collector.tar.gz";
    let text = |url: &str| {
        format!("files:\n  - {{ selector: os.type=linux, url: '{url}', sha256: {SHA256}, ")
            + "signature_file: collector.sig }\n"
    };
    std::fs::write(&path, text(url)).unwrap();
    let file = path.to_str().unwrap();
    let server = Server::serve(&data);
    server.wait_ready();
    let create = ["packages", "create", "collector@1", "-f", file];
    assert_eq!(server.ok(&create), "collector@1\n");
    assert_eq!(server.ok(&create), "collector@1\n", "the same again is what is there");
    let told = server.ok(&["packages", "get", "collector@1", "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["files"][0]["sha256"], &told["type"]), (&SHA256.into(), &"top-level".into()));
    assert_eq!(told["files"][0]["signature"], "c2lnbmVk");
    let table = server.ok(&["packages", "get", "collector@1"]);
    assert!(table.contains(url) && table.contains(SHA256), "{table}");

    std::fs::write(&path, text("https://elsewhere.example.org/x")).unwrap();
    let refused = server.client(&create);
    assert!(!refused.status.success() && stderr(&refused).contains("never changes"));
    std::fs::write(&path, "files: [{ url: 'https://h/x', sha256: abc }]").unwrap();
    let wrong = server.client(&create);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("64 hex digits"), "{}", stderr(&wrong));

    assert_eq!(server.ok(&["package-sets", "apply", "edge", "collector@1"]), "edge@1\n");
    let missing = server.client(&["package-sets", "apply", "edge", "collector@2"]);
    assert_eq!(missing.status.code(), Some(3), "not found");
    assert!(server.ok(&["package-sets", "list"]).contains("collector@1"));
    server.ok(&["assign", "set", "all", "-l", "", "--packages", "edge", "--yes"]);
    assert!(server.ok(&["assign", "list"]).contains("packages edge@1"));
    for (line, who) in [
        (["packages", "delete", "collector@1"], "packageSets/edge"),
        (["package-sets", "delete", "edge"], "assignments/all"),
    ] {
        let refused = server.client(&line);
        assert!(!refused.status.success() && stderr(&refused).contains(who), "{line:?}");
    }
    server.ok(&["assign", "remove", "all"]);
    server.ok(&["package-sets", "delete", "edge"]);
    assert_eq!(server.ok(&["packages", "delete", "collector@1"]), "collector@1 deleted\n");
    assert_eq!(server.ok(&["packages", "list", "-o", "name"]), "");
}
