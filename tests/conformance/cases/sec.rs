//! Who is let in, as whom, and until when.

use std::time::Duration;

use agent::core::CAPABILITIES as ALL;
use agent::link::{Trust, WebSocket};
use control::v1::apply_connection_settings_request::Settings;
use control::v1::credential::State;
use control::v1::enrollment_token::Approval;
use control::v1::{AgentAdmission, ConnectionStatus, EnrollmentToken};
use http::StatusCode;
use opamp::v1::*;
use prost::Message as _;

use super::conn::{next, opamp, taking};
use crate::fleet::{Fleet, PATIENCE};
use crate::messages::*;

const GUARDED: [&str; 4] =
    ["--agent-credentials", "required", "--agent-url", "wss://fleet.example/v1/opamp"];
const POLICY: Option<u16> = Some(1008);

/// A fleet that lets nobody in as they come.
async fn guarded(fleet: &Fleet) -> Fleet {
    fleet.own(&GUARDED).await
}

fn header(token: &str) -> String {
    format!("Bearer {token}")
}

async fn connect(fleet: &Fleet, token: &str) -> Option<WebSocket> {
    let headers = [("authorization", &*header(token))];
    WebSocket::connect(&fleet.endpoint(false), &headers).await.ok()
}

/// Connects on every gateway until each lets it in: they learn of tokens one after the other.
async fn welcome(fleet: &Fleet, token: &str) -> WebSocket {
    let welcomed = async {
        let mut in_a_row = 0;
        loop {
            match connect(fleet, token).await {
                Some(socket) if in_a_row >= fleet.gateways() => return socket,
                Some(_) => in_a_row += 1,
                None => in_a_row = 0,
            }
        }
    };
    tokio::time::timeout(PATIENCE, welcomed).await.expect("it is let in")
}

/// Polls with a token until the status is this one, on every gateway.
async fn until_answered(fleet: &Fleet, token: &str, message: &AgentToServer, status: StatusCode) {
    let waiting = async {
        let mut in_a_row = 0;
        while in_a_row <= fleet.gateways() {
            let headers = [("authorization", &*header(token))];
            let answer = fleet.post(&headers, message.encode_to_vec()).await;
            in_a_row = if answer.status == status { in_a_row + 1 } else { 0 };
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the answer that is due");
}

async fn token(fleet: &Fleet, name: &str, approval: Approval) -> String {
    let labels = [("enrolled".to_owned(), name.to_owned())].into();
    let name = format!("enrollmentTokens/{name}");
    let approval = approval.into();
    fleet.enrollment_token(EnrollmentToken { name, approval, labels, ..Default::default() }).await
}

/// The credential in an offer.
fn credential(offers: &ConnectionSettingsOffers) -> String {
    let opamp = offers.opamp.as_ref().unwrap();
    assert_eq!(opamp.destination_endpoint, "wss://fleet.example/v1/opamp");
    assert_eq!(opamp.heartbeat_interval_seconds, 30);
    let headers = &opamp.headers.as_ref().unwrap().headers;
    let [Header { key, value }] = &headers[..] else { panic!("{} headers", headers.len()) };
    assert_eq!(key, "Authorization");
    value.strip_prefix("Bearer ").unwrap().to_owned()
}

/// The next offer of connection settings, whatever is answered before.
async fn offer(socket: &mut WebSocket) -> ConnectionSettingsOffers {
    loop {
        let said = socket.receive(PATIENCE).await.unwrap();
        assert_eq!(error_type(&said), None);
        if let Some(offers) = said.connection_settings {
            return offers;
        }
    }
}

async fn answer(socket: &mut WebSocket, message: &AgentToServer) -> ServerToAgent {
    socket.send(message).await.unwrap();
    socket.receive(PATIENCE).await.unwrap()
}

/// An agent that was turned away comes with a token: it is not heard, whether the word of that or
/// the close is first.
async fn not_heard(fleet: &Fleet, token: &str, message: &AgentToServer) {
    let mut socket = connect(fleet, token).await.unwrap();
    socket.send(message).await.unwrap();
    match socket.receive(PATIENCE).await {
        Ok(refused) => {
            assert_eq!(error_type(&refused), Some(ServerErrorResponseType::BadRequest));
        }
        Err(closed) => assert!(closed.to_string().contains("1008"), "{closed}"),
    }
}

pub(crate) async fn sec_01_strangers_get_401_and_no_record(fleet: &Fleet) {
    let fleet = guarded(fleet).await;
    let message = full(fleet.uid(), 0, "sec-01");
    for shown in ["Bearer msa_forged", "Bearer mse_forged", "Basic bXVzdGVy", ""] {
        let answer = fleet.post(&[("authorization", shown)], message.encode_to_vec()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{shown:?}");
        let wanted = answer.headers.get("www-authenticate").map(|it| it.to_str().unwrap());
        assert_eq!(wanted, Some("Bearer"), "{shown:?}");
        let headers = [("authorization", shown)];
        assert!(WebSocket::connect(&fleet.endpoint(false), &headers).await.is_err(), "{shown:?}");
    }
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    assert!(fleet.agent(uid).await.is_none(), "nobody heard it");
}

pub(crate) async fn sec_04_who_enrolls_is_given_its_own_and_comes_with_it(fleet: &Fleet) {
    let fleet = guarded(fleet).await;
    let token = token(&fleet, "ci", Approval::Automatic).await;
    let mut socket = welcome(&fleet, &token).await;
    let mut message = taking(&fleet, "sec-04", OPAMP | STATUS);
    socket.send(&message).await.unwrap();
    let first = credential(&offer(&mut socket).await);
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    let enrolled = |agent: &control::v1::Agent| agent.admission() == AgentAdmission::Enrolled;
    let seen = fleet.until(uid, enrolled).await;
    assert_eq!(seen.labels["enrolled"], "ci", "the token says so");
    socket.close().await.unwrap();

    // It may not have arrived: until it was shown, the token does.
    let mut again = connect(&fleet, &token).await.unwrap();
    message.sequence_num += 1;
    again.send(&message).await.unwrap();
    assert_eq!(credential(&offer(&mut again).await), first, "the same one");
    again.close().await.unwrap();

    let mut socket = connect(&fleet, &first).await.unwrap();
    message.sequence_num += 1;
    assert_eq!(error_type(&answer(&mut socket, &message).await), None);
    fleet.until(uid, |agent| agent.admission() == AgentAdmission::Credential).await;
    let proven = fleet.until_credential(uid, |it| it.proven_serial == 1).await;
    assert_eq!((&*proven.enrollment, proven.state()), ("enrollmentTokens/ci", State::Active));

    // Who else knows the token does not come in its name, nor it in others'.
    let mut thief = connect(&fleet, &token).await.unwrap();
    let refused = answer(&mut thief, &next(&message)).await;
    assert_eq!(error_type(&refused), Some(ServerErrorResponseType::BadRequest));
    let other = full(fleet.uid(), 0, "sec-04");
    let refused = answer(&mut socket, &other).await;
    assert_eq!(error_type(&refused), Some(ServerErrorResponseType::BadRequest));
    assert!(fleet.agent((&other.instance_uid[..]).try_into().unwrap()).await.is_none());

    // Another one: the older is good until the new one was shown.
    fleet.rotate_credential(uid).await;
    let second = credential(&offer(&mut socket).await);
    assert_ne!(second, first);
    message = next(&message);
    until_answered(&fleet, &first, &message, StatusCode::OK).await;
    until_answered(&fleet, &second, &next(&message), StatusCode::OK).await;
    until_answered(&fleet, &first, &message, StatusCode::UNAUTHORIZED).await;
}

pub(crate) async fn sec_05_who_is_revoked_goes_at_once_and_alone(fleet: &Fleet) {
    let fleet = guarded(fleet).await;
    let token = token(&fleet, "ci", Approval::Automatic).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let message = taking(&fleet, "sec-05", OPAMP | STATUS);
        let mut socket = welcome(&fleet, &token).await;
        socket.send(&message).await.unwrap();
        let own = credential(&offer(&mut socket).await);
        let mut socket = connect(&fleet, &own).await.unwrap();
        let message = next(&message);
        assert_eq!(error_type(&answer(&mut socket, &message).await), None);
        sockets.push((socket, message, own));
    }
    let (mut neighbour, unconcerned, _) = sockets.pop().unwrap();
    let (mut socket, message, own) = sockets.pop().unwrap();
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    fleet.until_credential(uid, |it| it.proven_serial == 1).await;
    fleet.revoke_credential(uid).await;
    assert_eq!(socket.closed(Duration::from_secs(2)).await.unwrap(), POLICY);
    drop(socket);
    until_answered(&fleet, &own, &message, StatusCode::UNAUTHORIZED).await;
    not_heard(&fleet, &token, &next(&message)).await;
    assert_eq!(error_type(&answer(&mut neighbour, &next(&unconcerned)).await), None);

    // Its uid is nobody's meanwhile, also once it is forgotten, until an operator says so.
    let is_gone = |agent: &control::v1::Agent| {
        agent.admission() == AgentAdmission::Revoked
            && agent.status() == ConnectionStatus::Disconnected
    };
    fleet.until(uid, is_gone).await;
    fleet.forget(uid).await;
    not_heard(&fleet, &token, &full(uid, 0, "sec-05")).await;
    fleet.reset_credential(uid).await;
    let mut anew = connect(&fleet, &token).await.unwrap();
    let message = AgentToServer { capabilities: CAPABILITIES | OPAMP, ..full(uid, 0, "sec-05") };
    anew.send(&message).await.unwrap();
    assert_ne!(credential(&offer(&mut anew).await), own);
    until_answered(&fleet, &own, &message, StatusCode::UNAUTHORIZED).await;
}

pub(crate) async fn sec_09_who_waits_is_told_nothing(fleet: &Fleet) {
    let fleet = guarded(fleet).await;
    let token = token(&fleet, "partners", Approval::Manual).await;
    let restart = AgentCapabilities::AcceptsRestartCommand as u64;
    let mut message = taking(&fleet, "sec-09", OPAMP | STATUS | restart);
    let uid = (&message.instance_uid[..]).try_into().unwrap();
    fleet.apply("sec-09", b"receivers: {}").await;
    fleet.assign("sec-09", "sec-09").await;
    let mut socket = welcome(&fleet, &token).await;
    let is_plain = |said: &ServerToAgent| {
        said.remote_config.is_none()
            && said.connection_settings.is_none()
            && error_type(said).is_none()
    };
    assert!(is_plain(&answer(&mut socket, &message).await));
    fleet.until(uid, |agent| agent.admission() == AgentAdmission::Pending).await;
    let waiting = fleet.until_credential(uid, |it| it.state() == State::Pending).await;
    assert_eq!(waiting.enrollment, "enrollmentTokens/partners");
    assert_eq!(fleet.credentials(State::Pending).await.len(), 1);
    for _ in 0..3 {
        message = next(&message);
        assert!(is_plain(&answer(&mut socket, &message).await));
    }
    let command = fleet.restart_agent(uid, false).await;
    let refused = command.unwrap_err().message().to_owned();
    assert!(refused.contains("waits to be let in"), "{refused}");

    fleet.approve_credential(uid).await;
    let approved = fleet.until(uid, |agent| !agent.labels.is_empty()).await;
    assert_eq!(approved.labels["enrolled"], "partners", "as if the token had decided");
    let (mut config, mut own) = (None, None);
    while config.is_none() || own.is_none() {
        let said = socket.receive(PATIENCE).await.unwrap();
        config = config.or(said.remote_config);
        own = own.or(said.connection_settings);
    }
    assert!(connect(&fleet, &credential(&own.unwrap())).await.is_some());

    let denied = full(fleet.uid(), 0, "sec-09");
    let uid = (&denied.instance_uid[..]).try_into().unwrap();
    let mut other = connect(&fleet, &token).await.unwrap();
    assert!(is_plain(&answer(&mut other, &denied).await));
    fleet.until_credential(uid, |it| it.state() == State::Pending).await;
    fleet.revoke_credential(uid).await;
    assert_eq!(other.closed(Duration::from_secs(2)).await.unwrap(), POLICY);
    drop(other);
    fleet.until(uid, |agent| agent.admission() == AgentAdmission::Revoked).await;
    not_heard(&fleet, &token, &next(&denied)).await;
}

/// A real agent takes what it is given, comes back with it, and stays.
pub(crate) async fn conn_12_an_agent_exchanges_its_token_for_its_own(fleet: &Fleet) {
    let fleet = guarded(fleet).await;
    let token = token(&fleet, "ci", Approval::Automatic).await;
    drop(welcome(&fleet, &token).await);
    let here = fleet.endpoint(false);
    let endpoint = format!("ws://{}{}", here.authority, here.path);
    let settings = OpAmpConnectionSettings { destination_endpoint: endpoint, ..opamp(1) };
    fleet.assign_settings("sec", "opamp", Settings::Opamp(settings)).await;
    for polls in [false, true] {
        let settings = agent::Settings {
            capabilities: ALL | SETTINGS,
            heartbeat_ms: 200,
            description: AgentDescription {
                non_identifying_attributes: vec![text("case", "sec")],
                ..Default::default()
            },
            ..agent::Settings::new(fleet.uid())
        };
        let uid = settings.instance_uid;
        let endpoint = fleet.endpoint(polls).trusting(Trust::default().token(&token));
        let agent = agent::start_at(settings, endpoint);
        let own = |agent: &control::v1::Agent| agent.admission() == AgentAdmission::Credential;
        fleet.until(uid, own).await;
        fleet.until_credential(uid, |it| it.proven_serial == 1).await;
        fleet.rotate_credential(uid).await;
        fleet.until_credential(uid, |it| it.proven_serial == 2).await;
        let connections = agent.see(|agent| agent.ledger.connections);
        let heard = agent.see(|agent| agent.ledger.received);
        assert!(agent.until(PATIENCE, |agent| agent.ledger.received > heard + 2).await);
        assert_eq!(agent.see(|agent| agent.ledger.connections), connections, "it stays");
        assert_eq!(agent.see(|agent| agent.ledger.repeated_settings), 0, "nothing is told twice");
    }
}
