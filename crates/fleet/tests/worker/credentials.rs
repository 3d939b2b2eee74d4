//! Agents that come in with tokens and credentials: who is heard, who waits, what they are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bus::v1::{
    Deliver, Delivered, GatewayReply, GatewayRequest, Reassess, Report, delivered, gateway_reply,
    gateway_request, report_reply,
};
use bus::{InProcess, Subject};
use fleet::Config;
use model::Timestamp;
use model::credential::AgentCredential;
use opamp::v1::{AgentCapabilities, AgentToServer, ServerErrorResponseType, ServerToAgent};
use prost::Message as _;
use store::tables::credentials::{FleetKey, encode, encode_key};
use store::{Key, Store as _, Version, Write};
use trust::{Credential, Signer, Vault};

use crate::faults::Flaky;
use crate::rig::{PATIENCE, Rig, claim, hello, instance};

fn vault() -> Arc<Vault> {
    Arc::new(Vault::from_key(&[4; 32]))
}

/// A report of an agent that came with an enrollment token.
fn enrolling(session: u8, message: &AgentToServer) -> Report {
    Report { enrollment_token: "ci".to_owned(), ..claim("gw", session, message) }
}

/// An agent that takes config and settings of its connection.
fn taking(uid: u8) -> AgentToServer {
    let bits = AgentCapabilities::AcceptsOpAmpConnectionSettings as u64;
    AgentToServer { capabilities: 0x1003 | bits, ..hello(uid, 0) }
}

fn none(uid: u8) -> AgentCredential {
    AgentCredential::none(instance(uid))
}

fn issued(before: AgentCredential) -> AgentCredential {
    before.issued(Timestamp(1), String::new(), 1_000_000, false)
}

async fn write(rig: &Rig, key: Key, value: bytes::Bytes) {
    let held = rig.ledger.get(std::slice::from_ref(&key)).await.unwrap().pop().unwrap();
    let expected = held.map_or(Version::ABSENT, |held| held.version);
    rig.ledger.commit(vec![Write::next(key, expected, value)]).await.unwrap();
}

/// The ledger says this of an agent.
async fn says(rig: &Rig, credential: &AgentCredential) {
    write(rig, Key::credential(&credential.uid), encode(credential, &Default::default())).await;
}

/// Workers with a vault and a ledger that may be away.
async fn rig() -> (Rig, Flaky) {
    let mut rig = Rig::idle(Arc::new(InProcess::default())).await;
    let ledger = Flaky::over(rig.ledger.clone());
    let agent_url = Some("wss://fleet.example/v1/opamp".to_owned());
    let config = Config { vault: Some(vault()), agent_url, ..Config::default() };
    rig.start_worker_with("w1", Arc::new(rig.records.clone()), Arc::new(ledger.clone()), config)
        .await;
    (rig, ledger)
}

/// Why an agent is not heard.
async fn refusal(rig: &Rig, report: Report) -> String {
    let Some(report_reply::Outcome::Accepted(accepted)) = rig.ask(report).await else {
        panic!("expected an answer")
    };
    assert!(accepted.refused);
    let error = ServerToAgent::decode(accepted.message).unwrap().error_response.unwrap();
    assert_eq!(error.r#type(), ServerErrorResponseType::BadRequest);
    error.error_message
}

#[tokio::test]
async fn who_is_new_is_not_heard_while_nobody_knows_what_it_has() {
    let (rig, ledger) = rig().await;
    ledger.away.store(true, Ordering::Relaxed);
    let answer = rig.ask(enrolling(1, &hello(1, 0))).await;
    assert!(matches!(answer, Some(report_reply::Outcome::Unavailable(_))), "{answer:?}");
    assert!(rig.stored(1).await.is_none());
    rig.accepted(claim("gw", 2, &hello(2, 0))).await;
    ledger.away.store(false, Ordering::Relaxed);
    rig.accepted(enrolling(1, &hello(1, 0))).await;
    assert!(rig.record(1).await.is_pending());
}

#[tokio::test]
async fn a_token_does_not_do_for_whom_the_ledger_knows_or_cannot_read() {
    let (rig, _) = rig().await;
    says(&rig, &issued(none(1)).proven(1)).await;
    says(&rig, &issued(none(2)).revoked(Timestamp(2), String::new())).await;
    write(&rig, Key::credential(&instance(3)), "not one".into()).await;
    assert!(refusal(&rig, enrolling(1, &hello(1, 0))).await.contains("of its own"));
    assert!(refusal(&rig, enrolling(2, &hello(2, 0))).await.contains("turned this agent away"));
    assert!(refusal(&rig, enrolling(3, &hello(3, 0))).await.contains("turned this agent away"));
    for uid in 1..=3 {
        assert!(rig.stored(uid).await.is_none(), "{uid} left something");
    }
    let another = Report {
        credential_uid: vec![9; 16].into(),
        enrollment_token: String::new(),
        ..enrolling(1, &hello(1, 0))
    };
    assert!(refusal(&rig, another).await.contains("of its own"));
    let own = Report {
        credential_serial: 1,
        enrollment_token: String::new(),
        ..enrolling(1, &hello(1, 0))
    };
    rig.accepted(own).await;
    assert_eq!(rig.record(1).await.admission.unwrap().shown, 1);
}

/// Answers deliveries as a gateway would, until both kinds of offers came.
async fn told(rig: &Rig) -> tokio::task::JoinHandle<Vec<Deliver>> {
    let subject = Subject::Gateway(model::GatewayId::new("gw"));
    let mut inbox = rig.bus.subscribe::<GatewayRequest>(&subject, 8).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "awaited by the test")]
    tokio::spawn(async move {
        let mut all = Vec::new();
        while all.len() < 2 {
            let (request, responder) = inbox.next().await.unwrap().split();
            let Some(gateway_request::Request::Deliver(deliver)) = request.request else {
                panic!("expected Deliver")
            };
            let outcomes = vec![delivered::Outcome::Sent.into(); deliver.targets.len()];
            let reply = Some(gateway_reply::Reply::Delivered(Delivered { outcomes }));
            responder.send(&GatewayReply { reply }).await;
            all.push(deliver);
        }
        all
    })
}

#[tokio::test]
async fn who_waits_is_offered_nothing_and_then_everything_and_its_credential_sealed() {
    let (rig, _) = rig().await;
    let (signer, sealed) = Signer::seal(&vault(), |bytes| bytes.fill(6));
    let key = FleetKey {
        sealed_seed: sealed.into(),
        public_key: signer.public_key(),
        created: Timestamp(1),
    };
    write(&rig, Key::fleet_key(), encode_key(&key, &Default::default())).await;
    rig.assign("receivers: {}", true).await;
    let asked =
        Reassess { instance_uids: vec![vec![1; 16].into()], decision: 1, ..Default::default() };
    rig.bus.request(&Subject::Reassess, &asked, PATIENCE).await.unwrap();
    let (_, reply) = rig.accepted(enrolling(1, &taking(1))).await;
    assert!(reply.remote_config.is_none() && reply.connection_settings.is_none());
    assert!(rig.record(1).await.offered.config.is_none());

    says(&rig, &issued(none(1))).await;
    let gateway = told(&rig).await;
    let asked = Reassess { credentials: true, ..asked };
    let answer = rig.bus.request(&Subject::Reassess, &asked, PATIENCE).await.unwrap();
    assert_eq!((answer.changed, answer.sent, answer.failed), (1, 2, 0));
    let all = gateway.await.unwrap();
    let config = |deliver: &&Deliver| {
        ServerToAgent::decode(&deliver.message[..]).unwrap().remote_config.is_some()
    };
    assert_eq!(all.iter().filter(config).count(), 1);
    let secret = all.iter().find(|deliver| !deliver.sealed_offers.is_empty()).unwrap();
    let clear = ServerToAgent::decode(&secret.message[..]).unwrap();
    assert!(clear.connection_settings.is_none(), "only sealed");
    let opened = vault().open(bus::SEALED_OFFERS, &secret.sealed_offers).unwrap();
    let offers = ServerToAgent::decode(opened.reveal()).unwrap().connection_settings.unwrap();
    let opamp = offers.opamp.unwrap();
    assert_eq!(opamp.destination_endpoint, "wss://fleet.example/v1/opamp");
    let token = opamp.headers.unwrap().headers[0].value.clone();
    let read =
        Credential::read(token.strip_prefix("Bearer ").unwrap().as_bytes(), &[signer.public_key()]);
    let expected = Credential { uid: [1; 16], serial: 1, expires_unix: 1_000_000 };
    assert_eq!(read, Some(expected));
}
