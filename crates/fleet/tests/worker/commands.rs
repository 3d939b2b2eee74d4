//! Commands for agents that poll: handed over once, told once, and alone.

use bus::Subject;
use bus::v1::handover_reply::Outcome;
use bus::v1::{Handover, HandoverReply};
use model::command::Progress;
use opamp::v1::{ServerToAgent, ServerToAgentCommand};
use prost::Message as _;

use crate::rig::{PATIENCE, Rig, bare, claim, hello, instance, poll};

fn handover(uid: u8, id: u8) -> Handover {
    let command = Some(ServerToAgentCommand::default());
    let message = ServerToAgent { capabilities: 1, command, ..Default::default() };
    Handover {
        instance_uid: instance(uid).as_bytes().to_vec().into(),
        command_id: vec![id; 16].into(),
        message: message.encode_to_vec().into(),
        not_after_unix_ms: u64::MAX,
        withdraw: false,
        since_unix_ms: 0,
    }
}

async fn hand(rig: &Rig, handover: &Handover) -> Outcome {
    let reply: HandoverReply =
        rig.bus.request(&Subject::Command, handover, PATIENCE).await.unwrap();
    reply.outcome()
}

async fn progress(rig: &Rig, uid: u8) -> Vec<Progress> {
    rig.record(uid).await.commands.iter().map(|command| command.progress).collect()
}

#[tokio::test]
async fn one_command_is_the_whole_reply_to_one_poll() {
    let rig = Rig::new().await;
    rig.assign("a", true).await;
    rig.accepted(poll(&bare(1, 0))).await;
    assert_eq!(hand(&rig, &handover(1, 1)).await, Outcome::Taken);
    assert_eq!(hand(&rig, &handover(1, 1)).await, Outcome::Taken, "asked again");
    assert_eq!(progress(&rig, 1).await, [Progress::Waiting]);
    let (_, reply) = rig.accepted(poll(&hello(1, 1))).await;
    let command = Some(ServerToAgentCommand::default());
    let alone =
        ServerToAgent { instance_uid: vec![1; 16], capabilities: 1, command, ..Default::default() };
    assert_eq!(reply, alone);
    // The same poll again is not told it again, and proves nothing.
    let (_, reply) = rig.accepted(poll(&hello(1, 1))).await;
    assert!(reply.command.is_none() && reply.remote_config.is_some(), "now the offer: {reply:?}");
    rig.accepted(poll(&bare(1, 2))).await;
    assert_eq!(progress(&rig, 1).await, [Progress::Replied]);
    assert_eq!(hand(&rig, &handover(1, 2)).await, Outcome::Taken);
    assert!(rig.accepted(poll(&bare(1, 3))).await.1.command.is_some());
    rig.accepted(poll(&bare(1, 4))).await;
    assert_eq!(progress(&rig, 1).await, [Progress::Replied, Progress::Delivered]);
}

#[tokio::test]
async fn only_agents_that_poll_are_given_commands_and_only_so_many() {
    let rig = Rig::new().await;
    assert_eq!(hand(&rig, &handover(9, 1)).await, Outcome::NotPolling, "nobody knows it");
    rig.accepted(claim("gw", 1, &hello(1, 0))).await;
    assert_eq!(hand(&rig, &handover(1, 1)).await, Outcome::NotPolling);
    rig.accepted(poll(&hello(2, 0))).await;
    for id in 0..8 {
        assert_eq!(hand(&rig, &handover(2, id)).await, Outcome::Taken);
    }
    assert_eq!(hand(&rig, &handover(2, 8)).await, Outcome::Full);
    let withdraw = Handover { withdraw: true, ..handover(2, 3) };
    assert_eq!(hand(&rig, &withdraw).await, Outcome::Withdrawn);
    assert_eq!(hand(&rig, &withdraw).await, Outcome::Unspecified, "nobody knows what became of it");
    // It opens a session: what waited for its polls is given back.
    rig.accepted(claim("gw", 2, &hello(2, 1))).await;
    assert!(progress(&rig, 2).await.iter().all(|progress| *progress == Progress::Returned));
}
