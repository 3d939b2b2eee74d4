//! Starting, being probed, ending.

use crate::process::{Server, run, stderr};

#[test]
fn answers_probes_and_ends_with_zero_when_told() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::serve(data.path());
    assert!(server.opamp.starts_with("ws://127.0.0.1:"), "{}", server.opamp);
    assert!(server.opamp.ends_with("/v1/opamp"), "{}", server.opamp);
    assert!(!server.opamp.contains(":0/"), "the real port: {}", server.opamp);

    server.wait_ready();
    assert_eq!(server.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(server.get("/nothing").0, 404);
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("muster_build_info{version=\""), "{metrics}");

    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn an_interrupt_is_a_way_to_end_too() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::serve(data.path());
    server.signal("INT");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let output =
        run(["serve", "--data-dir", data.path().to_str().unwrap(), "--opamp-listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("--opamp-listen") && said.contains(&address), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let output = run(["agents", "list", "--server", &server]);
    assert_eq!(output.status.code(), Some(4));
    let said = stderr(&output);
    assert!(said.contains(&server), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
}
