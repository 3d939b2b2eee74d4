//! Foreign clients at a door with TLS and tokens: who is known comes in, and nobody else.

use std::path::Path;
use std::process::Command;

use agent::link::{Endpoint, Trust};
use control::v1::{Agent, ConfigStatus, ConnectionStatus};
use services::{Authority, Muster, Pair};
use tempfile::TempDir;

use crate::{Client, Operator, PATIENCE, config, metric, node, python, until};

const TOKEN: &str = "0123456789abcdef-interop";

#[tokio::test]
async fn the_client_of_pypi_by_tls_and_token() {
    known(python).await;
}

#[tokio::test]
async fn the_client_of_npm_by_tls_and_token() {
    known(node).await;
}

/// A server with a certificate of this authority that asks agents for a token, and its data.
fn guarded(authority: &Authority, tokens: &Path, more: &[&str]) -> (Muster, TempDir) {
    let pair = authority.server("gateway").unwrap();
    let data = tempfile::tempdir().unwrap();
    let flags = [
        ("--data-dir", data.path()),
        ("--opamp-tls-cert", &pair.certificate),
        ("--opamp-tls-key", &pair.key),
        ("--agent-token-file", tokens),
    ];
    let flags = flags.iter().flat_map(|(flag, path)| [*flag, path.to_str().unwrap()]);
    let flags: Vec<&str> = flags.chain(more.iter().copied()).collect();
    (Muster::serve(&flags).unwrap(), data)
}

async fn known(command: fn(&str) -> Option<Command>) {
    let (ours, another) = (Authority::new().unwrap(), Authority::new().unwrap());
    let tokens = ours.dir().join("agents");
    std::fs::write(&tokens, format!("interop {TOKEN}\n")).unwrap();
    let (muster, _data) = guarded(&ours, &tokens, &[]);
    let endpoint = muster.opamp.clone().unwrap().replacen("wss", "https", 1);
    let start = |authority: &Authority, token: &str| {
        let mut command = command(&endpoint)?;
        command.env("CA_FILE", authority.file()).env("TOKEN", token);
        Some(Client::start(&mut command))
    };

    // Strangers first: they are turned away before anybody is let in.
    let Some(_stranger) = start(&ours, "0123456789abcdef-stranger") else { return };
    let turned_away = async || metric(&muster, "muster_gateway_unauthorized_total").await > 0.0;
    until("the wrong token is refused", turned_away).await;
    let _misled = start(&another, TOKEN).unwrap();
    let hung_up = async || metric(&muster, "muster_gateway_handshakes_failed_total").await > 0.0;
    until("the server is not known to who trusts another authority", hung_up).await;
    assert_eq!(metric(&muster, "muster_gateway_polls_total").await, 0.0);

    let _client = start(&ours, TOKEN).unwrap();
    let operator = Operator::connect(&muster).await;
    let connected = |agent: &Agent| agent.status() == ConnectionStatus::Connected;
    operator.until("it is listed", connected).await;
    operator.give("a: 1").await;
    operator.until("it applies a config", |a| config(a).status() == ConfigStatus::Applied).await;
    assert_eq!(operator.count().await, 1, "nobody else is listed");

    // Taken out of the file, the token is good for nothing any more.
    std::fs::write(&tokens, "someone 0123456789abcdef-else\n").unwrap();
    let polls = async || metric(&muster, "muster_gateway_polls_total").await;
    until("it is refused as well", async || {
        let (before, refused) = (polls().await, unauthorized(&muster).await);
        until("another one is refused", async || unauthorized(&muster).await > refused + 1.0).await;
        polls().await == before
    })
    .await;
}

async fn unauthorized(muster: &Muster) -> f64 {
    metric(muster, "muster_gateway_unauthorized_total").await
}

/// The reference agent on both transports, with a certificate of its own where one is asked for.
#[tokio::test]
async fn the_reference_agent_by_tls_token_and_certificate() {
    let (ours, another) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (own, foreign) = (ours.client("agent").unwrap(), another.client("agent").unwrap());
    let tokens = ours.dir().join("agents");
    std::fs::write(&tokens, format!("interop {TOKEN}\n")).unwrap();
    let authority = ours.file();
    let (muster, _data) =
        guarded(&ours, &tokens, &["--opamp-client-ca", authority.to_str().unwrap()]);
    let socket = muster.opamp.clone().unwrap();
    let polls = socket.replacen("wss", "https", 1);
    let read = |path: &Path| std::fs::read(path).unwrap();
    let start = |number: usize, url: &str, with: &Pair, token: &str| {
        let (chain, key) = (read(&with.certificate), read(&with.key));
        let trust = Trust::default().authorities(&read(&ours.file()), Some((&chain, &key)));
        let endpoint = Endpoint::parse(url).unwrap().trusting(trust.unwrap().token(token));
        agent::start_at(agent::swarm::settings(number), endpoint)
    };
    let answered = |agent: &agent::Agent| agent.ledger.received > 0;
    let wrong = start(1, &socket, &own, "0123456789abcdef-stranger");
    let unknown = start(2, &polls, &foreign, TOKEN);
    for (number, url) in [(3, &socket), (4, &polls)] {
        let known = start(number, url, &own, TOKEN);
        assert!(known.until(PATIENCE, answered).await, "{url}");
    }
    until("the stranger was refused", async || {
        metric(&muster, "muster_gateway_unauthorized_total").await > 0.0
            && metric(&muster, "muster_gateway_handshakes_failed_total").await > 0.0
    })
    .await;
    assert!(!wrong.see(answered) && !unknown.see(answered));
    assert_eq!(Operator::connect(&muster).await.count().await, 2, "nobody else is listed");
}
