//! What an operator stops does not go out.

use bus::Subject;
use bus::v1::Reassess;
use model::assign::Hold;
use model::brake::Stage;
use model::{ConfigHash, Timestamp};

use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance, poll, until};

async fn reassess(rig: &Rig, decision: u64) -> u32 {
    let instance_uids = vec![instance(1).as_bytes().to_vec().into()];
    let ask = Reassess { instance_uids, decision, labels: false, credentials: false };
    rig.bus.request(&Subject::Reassess, &ask, PATIENCE).await.unwrap().sent
}

#[tokio::test]
async fn held_offers_go_out_once_they_are_resumed() {
    let rig = Rig::new().await;
    rig.assign("a: 1", true).await;
    let hold = Hold { since: Timestamp(0), reason: "incident".to_owned(), actor: String::new() };
    let decision = rig.decide(|assignments, _| assignments.hold = Some(hold)).await;
    assert_eq!(reassess(&rig, decision).await, 0);
    let (_, reply) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!(reply.remote_config, None);
    let (_, reply) = rig.accepted(poll(&hello(2, 0))).await;
    assert_eq!(reply.remote_config, None);
    rig.decide(|assignments, _| assignments.hold = None).await;
    let mut seq = 0;
    until("the poll that comes then is offered it", async || {
        seq += 1;
        rig.accepted(poll(&bare(2, seq))).await.1.remote_config.is_some()
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_turn_has_not_come_is_offered_nothing() {
    let rig = Rig::new().await;
    let hash = rig.assign("a: 1", true).await;
    let stage = |stage| {
        rig.decide(move |assignments, _| {
            // Decided after the agent was first seen.
            assignments.list[0].updated = Timestamp(u64::MAX);
            assignments.list[0].brake.stage = stage;
        })
    };
    let rank = model::brake::rank(&instance(1), &hash.0);
    let decision = stage(Stage::Releasing(rank)).await;
    reassess(&rig, decision).await;
    let (_, reply) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!(reply.remote_config, None);
    let decision = stage(Stage::Releasing(rank + 1)).await;
    reassess(&rig, decision).await;
    assert_eq!(offered(&rig).await, Some(hash));
}

#[tokio::test]
async fn what_stopped_goes_out_to_nobody_else() {
    let rig = Rig::new().await;
    rig.assign("a: 1", true).await;
    let stopped = Stage::Stopped { failed: 3 };
    let decision = rig.decide(|assignments, _| assignments.list[0].brake.stage = stopped).await;
    reassess(&rig, decision).await;
    let (_, reply) = rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!((reply.remote_config, offered(&rig).await), (None, None));
}

async fn offered(rig: &Rig) -> Option<ConfigHash> {
    rig.record(1).await.offered.config.map(|config| config.hash)
}
