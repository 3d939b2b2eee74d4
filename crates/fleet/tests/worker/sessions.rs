//! Sessions that are doubted, gateways that are gone, and records that were lost.

use bus::v1::report_reply::Outcome;
use bus::v1::resume_reply::Outcome as Held;
use bus::v1::{
    GatewayReply, GatewayRequest, Generation, PingReply, Reap, Report, Resume, gateway_reply,
    gateway_request, reap, resume,
};
use bus::{Client, Subject};
use model::{GatewayId, Timestamp};
use opamp::v1::{AgentToServer, ServerToAgentFlags};
use store::Generation as Age;
use tokio::task::JoinSet;

use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance};

const FULL: u64 = ServerToAgentFlags::ReportFullState as u64;

async fn resume(rig: &Rig, session: u8, epoch: u64, answered: u64) -> i32 {
    let session = resume::Session {
        session_id: vec![session; 16].into(),
        instance_uid: instance(1).as_bytes().to_vec().into(),
        epoch,
        answered_sequence_num: Some(answered),
    };
    let ask = Resume { gateway_id: "gw".to_owned(), sessions: vec![session] };
    rig.bus.request(&Subject::Resume, &ask, PATIENCE).await.unwrap().outcomes[0]
}

async fn reap(rig: &Rig, gateway: &str, epoch: u64) -> bool {
    let instance_uid = instance(1).as_bytes().to_vec().into();
    let targets = vec![reap::Target { instance_uid, epoch }];
    let ask = Reap { gateway_id: gateway.to_owned(), targets };
    let answer = rig.bus.request(&Subject::Reap, &ask, PATIENCE).await.unwrap();
    assert_eq!(answer.failed, 0);
    answer.alive
}

/// Something that answers as a gateway would that is there.
async fn answer_pings(bus: &Client, gateway: &str, tasks: &mut JoinSet<()>) {
    let subject = Subject::Gateway(GatewayId::new(gateway));
    let mut inbox = bus.subscribe::<GatewayRequest>(&subject, 8).await.unwrap();
    tasks.spawn(async move {
        while let Some(received) = inbox.next().await {
            let reply = Some(gateway_reply::Reply::Ping(PingReply {}));
            received.split().1.send(&GatewayReply { reply }).await;
        }
    });
}

#[tokio::test]
async fn the_sessions_of_a_gateway_that_nobody_reaches_end_and_may_come_back() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert!(!reap(&rig, "gw", epoch + 1).await);
    assert!(rig.record(1).await.owner.is_some(), "another epoch is another session");
    let subject = Subject::Gateway(GatewayId::new("gw"));
    // It is there, but too busy to answer.
    let mut gateway = rig.bus.subscribe::<GatewayRequest>(&subject, 8).await.unwrap();
    assert!(!reap(&rig, "gw", epoch).await);
    assert_eq!(rig.record(1).await.owner, None);
    let told = async {
        loop {
            let request = gateway.next().await.unwrap().body.request;
            if let Some(gateway_request::Request::Doubt(doubt)) = request {
                break doubt.instance_uids;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("it is told what was reaped");
    assert_eq!(told, [instance(1).as_bytes().to_vec()]);
    // It only slept.
    assert_eq!(resume(&rig, 1, epoch, 6).await, i32::from(Held::Held));
    let record = rig.record(1).await;
    assert!(record.owner.is_some());
    assert_eq!((record.epoch, record.sequence_num), (epoch, Some(6)));
    let (_, reply) = rig.accepted(report(epoch, 2, 6, &bare(1, 7))).await;
    assert_eq!(reply.flags, 0, "nothing was missed");
}

#[tokio::test]
async fn a_gateway_that_answers_keeps_its_sessions() {
    let mut rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    answer_pings(&rig.bus, "gw", &mut rig.workers).await;
    assert!(reap(&rig, "gw", epoch).await);
    assert!(rig.record(1).await.owner.is_some());
}

#[tokio::test]
async fn who_slept_while_its_agent_moved_is_told_so() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    reap(&rig, "gw", epoch).await;
    let (next, _) = rig.accepted(claim("other", 2, &bare(1, 1))).await;
    assert_eq!(next, epoch + 1);
    let before = rig.record(1).await;
    assert_eq!(resume(&rig, 1, epoch, 9).await, i32::from(Held::Stale));
    assert_eq!(rig.ask(report(epoch, 2, 9, &bare(1, 10))).await, Some(stale()));
    assert_eq!(rig.record(1).await, before, "a stale owner changes nothing");
}

/// The `n`th report of session 1 at `gw`, which has answered everything up to a number.
fn report(epoch: u64, n: u64, answered: u64, message: &AgentToServer) -> Report {
    let answered_sequence_num = Some(answered);
    Report { epoch, n, answered_sequence_num, ..claim("gw", 1, message) }
}

fn stale() -> Outcome {
    Outcome::Stale(bus::v1::report_reply::Stale {})
}

#[tokio::test]
async fn lost_records_are_noticed_told_and_claimed_above_what_was() {
    let rig = Rig::new().await;
    let mut ages = rig.bus.subscribe::<Generation>(&Subject::Generation, 8).await.unwrap();
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let version = rig.stored(1).await.unwrap().version;
    let lost_at = Age(900_000);
    rig.records.lose(lost_at);
    let told = async {
        loop {
            let told = ages.next().await.unwrap().body.generation;
            if told == lost_at.0 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("gateways are told");
    assert_eq!(rig.ask(report(epoch, 2, 0, &bare(1, 1))).await, Some(stale()));
    assert_eq!(resume(&rig, 1, epoch, 1).await, i32::from(Held::Stale));
    let again = Report { epoch_floor: epoch, ..claim("gw", 2, &hello(1, 2)) };
    assert_eq!(rig.accepted(again).await.0, epoch + 1);
    assert!(rig.stored(1).await.unwrap().version > version, "readers take it for newer");
    // Whoever comes back now may have been there before: no decision lets it pass for new.
    assert_eq!(rig.record(1).await.first_seen, Timestamp(0));
}

#[tokio::test]
async fn the_full_report_that_was_asked_for_needs_no_number() {
    let rig = Rig::new().await;
    let (epoch, _) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    let full: AgentToServer = hello(1, 30);
    let (_, gap) = rig.accepted(report(epoch, 2, 0, &bare(1, 9))).await;
    assert_eq!(gap.flags, FULL);
    let mut asked = report(epoch, 3, 0, &full);
    asked.answered_sequence_num = None;
    assert_eq!(rig.accepted(asked).await.1.flags, 0);
}
