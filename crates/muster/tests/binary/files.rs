//! A process that may have few files open.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use crate::process::{LIMIT, Server, wait};

const HANDSHAKE: &str = "GET /v1/opamp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An agent's connection and the answer to its handshake; empty if there is none.
fn shake_hands(server: &Server) -> (TcpStream, String) {
    let address = server.opamp.split('/').nth(2).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // It may be gone already.
    let _ = stream.write_all(HANDSHAKE.as_bytes());
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn is_let_in(head: &str) -> bool {
    head.starts_with("HTTP/1.1 101 ")
}

#[test]
fn agents_beyond_the_open_files_are_told_to_come_back_and_probes_are_answered() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_files(data.path(), 256);
    server.wait_ready();
    let mut held = Vec::new();
    let refused = loop {
        let (stream, head) = shake_hands(&server);
        if !is_let_in(&head) {
            break head.to_lowercase();
        }
        held.push(stream);
        assert!(held.len() < 256);
    };
    assert!(held.len() > 100, "{}", held.len());
    assert!(refused.starts_with("http/1.1 503 ") && refused.contains("retry-after: "), "{refused}");
    // Those that never say anything have no file that others need.
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(server.opamp.split('/').nth(2).unwrap()).unwrap())
        .collect();
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.get("/readyz").0, 200);
    server.ok(&["agents", "list"]);
    drop((held, silent));
    wait("agents get in again", || match shake_hands(&server).1 {
        head if is_let_in(&head) => Ok(()),
        head => Err(head),
    });
}

#[test]
fn a_process_without_files_says_that_it_is_not_ready_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_files(data.path(), 256);
    server.wait_ready();
    let allow = |files: u32| {
        let limit = format!("--nofile={files}:256");
        let pid = server.pid().to_string();
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(done.expect("prlimit of util-linux").success());
    };
    // A probe that was connected before, since nobody else is answered then.
    let mut probe = server.probe();
    assert_eq!(probe.status("/readyz"), 200);
    allow(4);
    let waiting = TcpStream::connect(server.opamp.split('/').nth(2).unwrap()).unwrap();
    wait("it says so", || match probe.status("/readyz") {
        503 => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(probe.status("/healthz"), 200, "it lives");
    allow(256);
    wait("ready again", || match probe.status("/readyz") {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    assert!(is_let_in(&shake_hands(&server).1));
    drop(waiting);
}
