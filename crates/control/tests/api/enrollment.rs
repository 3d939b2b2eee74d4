//! Tokens that enroll agents: told once, known by a digest, revoked for good; and the roll, by
//! which gateways know them.

use std::time::Duration;

use bus::v1::{RollChanged, RollReply, RollRequest};
use bus::{Client, Subject};
use control::v1::credentials_client::CredentialsClient;
use control::v1::enrollment_token::{Approval, State};
use control::v1::*;
use model::Clock as _;
use store::{Cursor, SHARDS, Store as _, Table};
use tonic::Code;
use tonic::transport::Channel;

use crate::rig::{PATIENCE, Rig, until};

fn client(rig: &Rig) -> CredentialsClient<Channel> {
    CredentialsClient::new(rig.channel.clone())
}

fn named(name: &str) -> EnrollmentToken {
    EnrollmentToken { name: format!("enrollmentTokens/{name}"), ..Default::default() }
}

fn create(token: EnrollmentToken) -> CreateEnrollmentTokenRequest {
    CreateEnrollmentTokenRequest { enrollment_token: Some(token) }
}

fn get(name: &str) -> GetEnrollmentTokenRequest {
    GetEnrollmentTokenRequest { name: format!("enrollmentTokens/{name}") }
}

fn revoke(name: &str) -> RevokeEnrollmentTokenRequest {
    RevokeEnrollmentTokenRequest { name: format!("enrollmentTokens/{name}") }
}

/// Everything that is stored of tokens.
async fn stored(rig: &Rig) -> Vec<u8> {
    let mut all = Vec::new();
    for shard in 0..SHARDS {
        let table = Table::EnrollmentTokens;
        let page = rig.ledger.inner.scan(table, shard, Cursor::default()).await.unwrap();
        page.entries.iter().for_each(|(_, stored)| all.extend_from_slice(&stored.value));
    }
    all
}

#[tokio::test]
async fn a_token_is_told_once_and_only_its_digest_is_stored() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    let asked = EnrollmentToken { labels, uses_max: 3, ..named("ci") };
    let made = client.create_enrollment_token(create(asked)).await.unwrap().into_inner();
    assert!(made.token.starts_with("mse_") && made.token.len() == 47, "{}", made.token);
    let told = made.enrollment_token.unwrap();
    assert_eq!((told.approval(), told.state()), (Approval::Automatic, State::Live));
    assert_eq!((told.uses_max, told.uses, &told.labels["env"][..]), (3, 0, "prod"));

    let bytes = stored(&rig).await;
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(!holds(made.token.as_bytes()) && !holds(&made.token.as_bytes()[4..]));
    assert!(holds(&trust::token_digest(made.token.as_bytes())));
    let read = client.get_enrollment_token(get("ci")).await.unwrap().into_inner();
    let request = ListEnrollmentTokensRequest::default();
    let all = client.list_enrollment_tokens(request).await.unwrap().into_inner();
    assert_eq!((&read, &all.enrollment_tokens), (&told, &vec![told.clone()]));
    assert!(!format!("{read:?}").contains("mse_"));
}

#[tokio::test]
async fn a_revoked_token_stays_and_so_does_its_name() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    client.create_enrollment_token(create(named("ci"))).await.unwrap();
    let revoked = client.revoke_enrollment_token(revoke("ci")).await.unwrap().into_inner();
    assert_eq!(revoked.state(), State::Revoked);
    let again = client.revoke_enrollment_token(revoke("ci")).await.unwrap().into_inner();
    assert_eq!(again, revoked, "the first time counts");
    let taken = client.create_enrollment_token(create(named("ci"))).await.unwrap_err();
    assert_eq!(taken.code(), Code::InvalidArgument);
    assert_eq!(client.get_enrollment_token(get("no")).await.unwrap_err().code(), Code::NotFound);
    let missing = client.revoke_enrollment_token(revoke("no")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn a_token_expires_by_the_clock() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    let at = i64::try_from(rig.clock.now().0 / 1000).unwrap() + 60;
    let expire_time = Some(prost_types::Timestamp { seconds: at, nanos: 0 });
    let asked = EnrollmentToken { expire_time, approval: Approval::Manual.into(), ..named("ci") };
    let made = client.create_enrollment_token(create(asked.clone())).await.unwrap().into_inner();
    let told = made.enrollment_token.unwrap();
    assert_eq!((told.state(), told.approval()), (State::Live, Approval::Manual));
    rig.clock.pass(Duration::from_secs(61));
    let read = client.get_enrollment_token(get("ci")).await.unwrap().into_inner();
    assert_eq!(read.state(), State::Expired);
    let late = EnrollmentToken { name: "enrollmentTokens/late".to_owned(), ..asked };
    let refused = client.create_enrollment_token(create(late)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_its_field() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    let labels = |key: &str| [(key.to_owned(), "x".to_owned())].into();
    for (asked, field) in [
        (EnrollmentToken { uses_max: -1, ..named("a") }, "uses_max"),
        (EnrollmentToken { labels: labels("not a label"), ..named("a") }, "labels"),
        (named("Not A Name"), "name"),
        (EnrollmentToken { name: "ci".to_owned(), ..Default::default() }, "name"),
    ] {
        let refused = client.create_enrollment_token(create(asked)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused}");
    }
    assert!(stored(&rig).await.is_empty());
}

/// Asks for the roll as a gateway does, until a control listens.
async fn roll(bus: &Client, known: &[u8], changed: bool) -> RollReply {
    let request = RollRequest { known: known.to_vec().into(), changed };
    let mut reply = None;
    until("the roll is told", async || {
        reply = bus.request(&Subject::Roll, &request, PATIENCE).await.ok();
        reply.is_some()
    })
    .await;
    reply.unwrap()
}

#[tokio::test]
async fn gateways_are_told_which_tokens_are_good_and_that_one_is_not_any_more() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    let mut changes = rig.bus.subscribe::<RollChanged>(&Subject::RollChanged, 8).await.unwrap();
    let made = client.create_enrollment_token(create(named("ci"))).await.unwrap().into_inner();
    tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
    let first = roll(&rig.bus, b"", true).await;
    let listed = first.roll.unwrap().enrollment;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].digest[..], trust::token_digest(made.token.as_bytes()));
    assert_eq!(roll(&rig.bus, &first.digest, true).await.roll, None, "as known");

    client.revoke_enrollment_token(revoke("ci")).await.unwrap();
    tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
    let after = roll(&rig.bus, &first.digest, true).await;
    assert!(after.digest != first.digest && after.roll.unwrap().enrollment.is_empty());
}

#[tokio::test]
async fn what_was_read_before_a_change_is_no_answer_after_it() {
    let rig = Rig::new().await;
    let mut client = client(&rig);
    let before = roll(&rig.bus, b"", false).await;
    client.create_enrollment_token(create(named("ci"))).await.unwrap();
    // Within the second that an answer serves others.
    assert_ne!(roll(&rig.bus, b"", true).await.digest, before.digest);
}

#[tokio::test]
async fn there_is_no_roll_without_the_ledger() {
    let rig = Rig::new().await;
    let _ = roll(&rig.bus, b"", false).await;
    rig.ledger.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let (request, limit) =
        (RollRequest { changed: true, ..Default::default() }, Duration::from_millis(200));
    assert!(rig.bus.request(&Subject::Roll, &request, limit).await.is_err());
}
