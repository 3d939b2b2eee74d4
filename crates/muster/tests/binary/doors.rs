//! A server behind TLS and tokens, as its operator sees it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use services::{Authority, Pair};

use crate::process::{LIMIT, Server, run, stderr, stdout, wait};

const TOKEN: &str = "a-token-that-is-secret";

/// What a door answers to a poll in the clear with an `Authorization` header, or without.
fn answer(address: &str, authorization: &str) -> String {
    post(address, authorization, &[])
}

/// The answer to a poll with this body.
fn post(address: &str, authorization: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request = format!(
        "POST /v1/opamp HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n{authorization}\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// `muster serve` on this folder with more flags.
fn serve(dir: &Path, flags: &[(&str, &Path)]) -> Server {
    let mut line = vec!["serve".to_owned(), "--data-dir".to_owned()];
    line.push(dir.join("data").to_str().unwrap().to_owned());
    for (flag, file) in flags {
        line.extend([(*flag).to_owned(), file.to_str().unwrap().to_owned()]);
    }
    Server::start(&line.iter().map(String::as_str).collect::<Vec<_>>())
}

fn write(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

#[test]
fn operators_come_in_by_tls_with_a_token_and_their_names_are_kept() {
    let authority = Authority::new().unwrap();
    let Pair { certificate, key } = authority.server("muster").unwrap();
    let dir = authority.dir();
    let tokens = write(&dir.join("tokens"), &format!("alice {TOKEN}\n"));
    let (own, ca) = (write(&dir.join("own"), TOKEN), authority.file());
    let server = serve(
        dir,
        &[
            ("--opamp-tls-cert", &certificate),
            ("--opamp-tls-key", &key),
            ("--control-tls-cert", &certificate),
            ("--control-tls-key", &key),
            ("--operator-token-file", &tokens),
        ],
    );
    assert!(server.opamp.starts_with("wss://127.0.0.1:"), "{}", server.opamp);
    assert!(server.control.starts_with("https://127.0.0.1:"), "{}", server.control);
    server.wait_ready();
    let address = server.opamp.strip_prefix("wss://").unwrap().split_once('/').unwrap().0;
    assert!(!answer(address, "").starts_with("HTTP"), "no word in the clear");

    let (ca, own) = (ca.to_str().unwrap(), own.to_str().unwrap());
    let yaml = write(&dir.join("c.yaml"), "a: 1\n");
    let apply = ["config", "apply", "c", "-f", yaml.to_str().unwrap(), "--ca-file", ca];
    let refused = server.client(&apply);
    assert!(!refused.status.success() && stderr(&refused).contains("token"));
    server.ok(&[&apply[..], &["--token-file", own]].concat());
    let by = ["--ca-file", ca, "--token-file", own];
    server.ok(&[&["assign", "set", "all", "-l", "", "--config", "c"][..], &by].concat());
    for shown in [&["config", "get", "c"][..], &["assign", "list"]] {
        let page = server.ok(&[shown, &by].concat());
        assert!(page.contains("alice"), "{page}");
    }
}

#[test]
fn where_a_client_certificate_is_asked_for_nobody_comes_in_without() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let Pair { certificate, key } = authority.server("muster").unwrap();
    let ca = authority.file();
    let server = serve(
        authority.dir(),
        &[
            ("--control-tls-cert", &certificate),
            ("--control-tls-key", &key),
            ("--control-client-ca", &ca),
        ],
    );
    server.wait_ready();
    let list = ["agents", "list", "--ca-file", ca.to_str().unwrap()];
    assert!(!server.client(&list).status.success(), "without a certificate");
    let ask = |Pair { certificate, key }: &Pair, what: &[&str]| {
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let shown = ["--ca-file", list[3], "--cert-file", certificate, "--key-file", key];
        server.client(&[what, &shown].concat())
    };
    let (mallory, alice) = (other.client("mallory").unwrap(), authority.client("alice").unwrap());
    assert!(!ask(&mallory, &list[..2]).status.success(), "of another authority");
    let yaml = write(&authority.dir().join("c.yaml"), "a: 1\n");
    assert!(ask(&alice, &["config", "apply", "c", "-f", yaml.to_str().unwrap()]).status.success());
    let page = stdout(&ask(&alice, &["config", "get", "c"]));
    assert!(page.contains("alice"), "the certificate's name is kept: {page}");
}

#[test]
fn a_token_that_is_taken_out_is_refused_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let other = "a-token-of-somebody-else";
    let tokens = write(&dir.path().join("tokens"), &format!("alice {TOKEN}\nbob {other}\n"));
    let server = serve(dir.path(), &[("--operator-token-file", &tokens)]);
    server.wait_ready();
    let own = write(&dir.path().join("own"), TOKEN);
    let list = ["agents", "list", "--token-file", own.to_str().unwrap()];
    server.ok(&list);
    write(&tokens, &format!("bob {other}\n"));
    wait("refused", || match server.client(&list).status.success() {
        true => Err("alice is still let in"),
        false => Ok(()),
    });
    // What makes no sense changes nothing.
    write(&tokens, "nonsense\n");
    wait("said", || match server.get("/metrics").1 {
        page if page.contains("muster_trust_reloads_failed_total 1") => Ok(()),
        page => Err(page),
    });
    write(&own, other);
    server.ok(&list);
}

#[test]
fn agents_without_a_token_are_turned_away_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = write(&dir.path().join("tokens"), &format!("agents {TOKEN}\n"));
    let server = serve(dir.path(), &[("--agent-token-file", &tokens)]);
    server.wait_ready();
    let address = server.opamp.strip_prefix("ws://").unwrap().split_once('/').unwrap().0;
    assert!(answer(address, "").starts_with("HTTP/1.1 401 "));
    let known = answer(address, &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(!known.is_empty() && !known.starts_with("HTTP/1.1 401 "), "{known}");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("muster_gateway_unauthorized_total 1"), "{metrics}");
}

#[test]
fn a_file_that_makes_no_door_is_named_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, format!("# agents\na {TOKEN}\nb {TOKEN}\n")).unwrap();
    let flags = ["--agent-token-file", path.to_str().unwrap()];
    let refused = run(["serve"].into_iter().chain(flags));
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains(&format!("{}, line 3: ", path.display())), "{said}");
    let checked = run(["config-check"].into_iter().chain(flags));
    assert_eq!(checked.status.code(), Some(2));
    assert!(stderr(&checked).contains("line 3: "), "{}", stderr(&checked));
    assert!(!(said + &stderr(&checked) + &stdout(&checked)).contains(TOKEN));
}

#[test]
fn agents_come_in_with_a_token_that_enrolls_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let flags = ["serve", "--data-dir", data.to_str().unwrap(), "--agent-credentials", "required"];
    let server = Server::start(&flags);
    server.wait_ready();
    let address = server.opamp.strip_prefix("ws://").unwrap().split_once('/').unwrap().0;
    assert!(answer(address, "").starts_with("HTTP/1.1 401 "));
    let create = ["enrollment-tokens", "create", "ci", "--uses", "2", "--label", "env=prod"];
    let token = server.ok(&create);
    assert!(token.starts_with("mse_") && token.ends_with('\n'), "{token}");
    let shown = format!("Authorization: Bearer {}\r\n", token.trim_end());
    let let_in = || answer(address, &shown).starts_with("HTTP/1.1 200 ");
    wait("let in", || if let_in() { Ok(()) } else { Err("not yet") });
    let listed = server.ok(&["enrollment-tokens", "list"]);
    assert!(listed.contains("0 of 2") && listed.contains("env=prod"), "{listed}");
    assert!(!listed.contains("mse_"), "{listed}");
    // Field 1 of AgentToServer, a uid.
    let message = [&[0x0a, 16][..], &[7; 16]].concat();
    assert!(post(address, &shown, &message).starts_with("HTTP/1.1 200 "));
    let seen = || {
        let listed = server.ok(&["credentials", "list", "--state", "active", "-o", "name"]);
        if listed.lines().count() == 1 { Ok(listed) } else { Err(listed) }
    };
    let uid = wait("given a credential", seen);
    let uid = uid.trim_end();
    let got = server.ok(&["credentials", "get", uid]);
    assert!(got.contains("enrollmentTokens/ci") && !got.contains("msa_"), "{got}");
    assert!(server.ok(&["enrollment-tokens", "list"]).contains("1 of 2"));
    let issued = server.ok(&["credentials", "issue", uid, "--expires-in", "1h"]);
    assert!(issued.starts_with("msa_"), "{issued}");
    assert!(server.ok(&["credentials", "rotate", uid, "-o", "json"]).contains("\"serial\": 3"));
    assert!(server.ok(&["credentials", "deny", uid]).contains("revoked"));
    let again = server.client(&["credentials", "rotate", uid]);
    assert!(!again.status.success() && stderr(&again).contains("approve"), "{}", stderr(&again));
    assert!(server.ok(&["credentials", "approve", uid]).contains("active"));
    assert!(server.ok(&["credentials", "reset", uid]).contains("reset"));
    assert!(server.ok(&["agents", "get", uid, "-o", "json"]).contains("\"admission\":"));
    assert!(server.ok(&["enrollment-tokens", "revoke", "ci"]).contains("revoked"));
    let refused = || answer(address, &shown).starts_with("HTTP/1.1 401 ");
    wait("refused", || if refused() { Ok(()) } else { Err("still let in") });
    assert!(server.ok(&["enrollment-tokens", "get", "ci", "-o", "json"]).contains("\"revoked\""));
}
