//! A worker on the embedded seams: what it promises gateways, whatever happens to it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brake;
mod broken;
mod commands;
mod components;
mod credentials;
mod custom;
mod faults;
mod life;
mod rig;
mod sessions;

use bus::Subject;
use bus::v1::{
    Close, Delivered, GatewayReply, Presence, Reassess, Report, delivered, gateway_reply,
    gateway_request, presence, report_reply,
};
use opamp::v1::AgentToServer;
use prost::Message as _;
use std::sync::Arc;

use rig::{PATIENCE, Rig, bare, claim, hello, instance, poll, until};
use store::{Counted, Op, Table};

fn next(gateway: &str, session: u8, epoch: u64, n: u64, message: &AgentToServer) -> Report {
    Report {
        epoch,
        n,
        answered_sequence_num: Some(message.sequence_num.wrapping_sub(1)),
        ..claim(gateway, session, message)
    }
}

#[tokio::test]
async fn a_claim_is_stored_before_it_is_answered() {
    let rig = Rig::new().await;
    let (epoch, reply) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!(epoch, 1);
    assert_eq!(reply.instance_uid, [1; 16]);
    assert_eq!(reply.capabilities, opamp::capability::SERVER);
    let record = rig.record(1).await;
    assert_eq!(record.owner.unwrap().gateway.as_str(), "gw");
    assert_eq!(record.sequence_num, Some(0));
}

#[tokio::test]
async fn the_same_report_again_is_answered_alike_and_written_once() {
    let rig = Rig::new().await;
    let first = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let version = rig.stored(1).await.unwrap().version;
    assert_eq!(rig.accepted(claim("gw", 1, &hello(1, 0))).await, first);
    assert_eq!(rig.stored(1).await.unwrap().version, version);
}

#[tokio::test]
async fn a_session_that_was_superseded_is_told_so() {
    let rig = Rig::new().await;
    let mut old_gateway = rig
        .bus
        .subscribe::<bus::v1::GatewayRequest>(&Subject::Gateway(model::GatewayId::new("a")), 8)
        .await
        .unwrap();
    let (old, _) = rig.accepted(claim("a", 1, &hello(1, 0))).await;
    let holder = async {
        let (request, responder) = old_gateway.next().await.unwrap().split();
        assert!(matches!(request.request, Some(gateway_request::Request::Probe(_))));
        let reply = Some(gateway_reply::Reply::Probe(bus::v1::ProbeReply { alive: false }));
        responder.send(&GatewayReply { reply }).await;
        old_gateway.next().await.unwrap().body.request
    };
    let ((new, _), told) = tokio::join!(rig.accepted(claim("b", 2, &bare(1, 1))), holder);
    assert!(new > old);
    let Some(gateway_request::Request::Supersede(supersede)) = told else {
        panic!("expected Supersede")
    };
    assert_eq!((&supersede.instance_uid[..], supersede.epoch), (&[1; 16][..], new));
    let late = rig.ask(next("a", 1, old, 2, &bare(1, 2))).await;
    assert!(matches!(late, Some(report_reply::Outcome::Stale(_))), "{late:?}");
}

#[tokio::test]
async fn reports_that_arrive_together_share_commits() {
    let mut rig = Rig::idle(Arc::new(bus::InProcess::default())).await;
    let counted = Arc::new(Counted::new(Arc::new(rig.records.clone())));
    rig.start_worker("w1", counted.clone()).await;
    let asks = (0..200).map(|uid| rig.accepted(claim("gw", 1, &hello(uid, 0))));
    futures_util::future::join_all(asks).await;
    for uid in 0..200 {
        assert_eq!(rig.record(uid).await.epoch, 1);
    }
    let counts = counted.counts();
    assert_eq!(counts.written(Table::Agents), 200);
    assert!(counts.commands(Op::Commit) <= 20, "{} commits", counts.commands(Op::Commit));
}

#[tokio::test]
async fn an_unchanged_poll_writes_no_record_and_the_next_one_is_no_gap() {
    let rig = Rig::new().await;
    let first = Report { remote_address: "127.0.0.1:9".to_owned(), ..poll(&hello(1, 0)) };
    rig.accepted(first).await;
    let version = rig.stored(1).await.unwrap().version;
    for seq in 1..5 {
        let remote_address = format!("127.0.0.1:{seq}");
        let report = Report { remote_address, ..poll(&bare(1, seq)) };
        assert_eq!(rig.accepted(report).await.1.flags, 0);
    }
    assert_eq!(rig.stored(1).await.unwrap().version, version);
    assert_eq!(rig.accepted(poll(&bare(1, 9))).await.1.flags, 1, "a gap is still one");
}

#[tokio::test]
async fn a_poller_that_starts_over_is_asked_once() {
    let rig = Rig::new().await;
    rig.accepted(poll(&hello(1, 57))).await;
    rig.accepted(poll(&bare(1, 58))).await;
    assert_eq!(rig.accepted(poll(&hello(1, 0))).await.1.flags, 1);
    assert_eq!(rig.accepted(poll(&hello(1, 1))).await.1.flags, 0);
    assert_eq!(rig.accepted(poll(&bare(1, 2))).await.1.flags, 0);
}

#[tokio::test]
async fn presence_tells_a_reconnect_elsewhere_from_a_gap() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("a", 1, &hello(1, 0))).await;
    let seen = presence::Seen {
        instance_uid: vec![1; 16].into(),
        epoch,
        sequence_num: 7,
        seen_unix_ms: 5,
    };
    let batch = Presence { gateway_id: "a".to_owned(), seen: vec![seen], ..Default::default() };
    rig.bus.publish(&Subject::Presence, &batch).await.unwrap();
    let asked = [("a".to_owned(), instance(1))];
    until("presence is stored", async || {
        use store::Store as _;
        rig.records.get_presence(&asked).await.unwrap()[0].is_some()
    })
    .await;
    assert_eq!(rig.accepted(claim("b", 2, &bare(1, 8))).await.1.flags, 0);
}

#[tokio::test]
async fn a_close_frees_the_agent_and_a_late_one_does_not() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("a", 1, &hello(1, 0))).await;
    let close = Close {
        gateway_id: "a".to_owned(),
        session_id: vec![1; 16].into(),
        instance_uid: vec![1; 16].into(),
        epoch,
        answered_sequence_num: Some(4),
    };
    rig.bus.request(&Subject::Close, &close, PATIENCE).await.unwrap();
    let record = rig.record(1).await;
    assert_eq!((record.owner, record.sequence_num), (None, Some(4)));
    rig.accepted(claim("b", 2, &bare(1, 5))).await;
    rig.bus.request(&Subject::Close, &close, PATIENCE).await.unwrap();
    assert!(rig.record(1).await.owner.is_some());
}

#[tokio::test]
async fn a_uid_is_given_once_per_request() {
    let rig = Rig::new().await;
    let asking = AgentToServer { flags: 1, ..hello(1, 0) };
    let (epoch, reply) = rig.accepted(claim("gw", 1, &asking)).await;
    let given = reply.agent_identification.unwrap().new_instance_uid;
    assert_eq!((epoch, given.len(), reply.instance_uid.len()), (0, 16, 16));
    assert!(rig.stored(1).await.is_none(), "the temporary uid leaves nothing");
    let again = AgentToServer { instance_uid: given, ..asking };
    let (epoch, reply) = rig.accepted(claim("gw", 2, &again)).await;
    assert_eq!((epoch, reply.agent_identification), (1, None));
}

/// Answers one delivery as a gateway would.
async fn gateway(rig: &Rig, outcome: delivered::Outcome) -> tokio::task::JoinHandle<usize> {
    let subject = Subject::Gateway(model::GatewayId::new("gw"));
    let mut inbox = rig.bus.subscribe::<bus::v1::GatewayRequest>(&subject, 8).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "awaited by the test")]
    tokio::spawn(async move {
        let (request, responder) = inbox.next().await.unwrap().split();
        let Some(gateway_request::Request::Deliver(deliver)) = request.request else {
            panic!("expected Deliver")
        };
        let message = opamp::v1::ServerToAgent::decode(deliver.message).unwrap();
        assert!(message.remote_config.is_some());
        let outcomes = vec![outcome.into(); deliver.targets.len()];
        let reply = Some(gateway_reply::Reply::Delivered(Delivered { outcomes }));
        responder.send(&GatewayReply { reply }).await;
        deliver.targets.len()
    })
}

#[tokio::test]
async fn a_decision_is_pushed_and_noted_once_it_was_sent() {
    let rig = Rig::new().await;
    for uid in 1..4 {
        rig.accepted(claim("gw", uid, &hello(uid, 0))).await;
    }
    let hash = rig.assign("a: 1", true).await;
    let told = gateway(&rig, delivered::Outcome::Sent).await;
    let instance_uids = (1..4).map(|uid| vec![uid; 16].into()).collect();
    let ask = Reassess { instance_uids, decision: 1, labels: false, credentials: false };
    let reply = rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap();
    assert_eq!((reply.changed, reply.sent, reply.failed), (3, 3, 0));
    assert_eq!(told.await.unwrap(), 3, "one message for all agents of a gateway");
    until("the delivery is noted", async || {
        rig.record(1).await.delivered.is_some_and(|delivered| delivered.hash == hash)
    })
    .await;
    let quiet = rig.accepted(next("gw", 1, 1, 2, &bare(1, 1))).await.1;
    assert_eq!(quiet.remote_config, None, "it is on its way");
}

#[tokio::test]
async fn an_offer_that_was_not_sent_rides_on_the_next_reply() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    rig.assign("a: 1", true).await;
    let told = gateway(&rig, delivered::Outcome::NotOwner).await;
    let ask = Reassess {
        instance_uids: vec![vec![1; 16].into()],
        decision: 1,
        labels: false,
        credentials: false,
    };
    rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap();
    told.await.unwrap();
    let reply = rig.accepted(next("gw", 1, 1, 2, &bare(1, 1))).await.1;
    assert!(reply.remote_config.is_some());
}

#[tokio::test]
async fn a_config_whose_body_is_missing_waits_for_it() {
    let rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    rig.assign("a: 1", false).await;
    let ask = Reassess {
        instance_uids: vec![vec![1; 16].into()],
        decision: 1,
        labels: false,
        credentials: false,
    };
    rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap();
    let reply = rig.accepted(next("gw", 1, 1, 2, &bare(1, 1))).await.1;
    assert_eq!(reply.remote_config, None);
    let file = opamp::v1::AgentConfigFile { body: "a: 1".into(), ..Default::default() };
    let map = opamp::v1::AgentConfigMap { config_map: [(String::new(), file)].into() };
    let hash = model::ConfigHash::of(&map.config_map);
    store::Store::put_blob(&rig.ledger, &hash, map.encode_to_vec().into()).await.unwrap();
    let reply = rig.accepted(next("gw", 1, 1, 3, &bare(1, 2))).await.1;
    assert_eq!(reply.remote_config.unwrap().config, Some(map));
}

#[tokio::test]
async fn stopping_finishes_what_is_in_hand() {
    let mut rig = Rig::new().await;
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    rig.shutdown.cancel();
    let stopped = tokio::time::timeout(PATIENCE, rig.workers.join_next()).await;
    stopped.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn of_two_live_agents_with_one_uid_the_newcomer_gets_another() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let subject = Subject::Gateway(model::GatewayId::new("gw"));
    let mut inbox = rig.bus.subscribe::<bus::v1::GatewayRequest>(&subject, 8).await.unwrap();
    let holder = async {
        let (request, responder) = inbox.next().await.unwrap().split();
        let Some(gateway_request::Request::Probe(probe)) = request.request else {
            panic!("expected Probe")
        };
        assert_eq!(probe.epoch, epoch);
        let reply = Some(gateway_reply::Reply::Probe(bus::v1::ProbeReply { alive: true }));
        responder.send(&GatewayReply { reply }).await;
    };
    let newcomer = claim("other", 2, &hello(1, 0));
    let ((claimed, reply), ()) = tokio::join!(rig.accepted(newcomer), holder);
    assert_eq!(claimed, 0, "no session was claimed");
    let given = reply.agent_identification.unwrap().new_instance_uid;
    assert_eq!(given.len(), 16);
    assert_eq!(rig.record(1).await.owner.unwrap().gateway.as_str(), "gw");
    let adopted = AgentToServer { instance_uid: given, ..hello(1, 1) };
    assert_eq!(rig.accepted(claim("other", 2, &adopted)).await.0, 1);
}
