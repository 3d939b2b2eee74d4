//! What is answered at the gateway and what is asked of the workers, and in which order.

use bus::v1::Transport;
use opamp::v1::AgentToServerFlags;

use crate::agent::{Agent, heartbeat, report, uid};
use crate::field::{Field, accepted, stale, unavailable, until};

#[tokio::test]
async fn a_claim_names_the_session_and_a_report_continues_it() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    agent.say(&heartbeat(1, 1)).await;
    agent.say(&report(1, 2)).await;
    let reports = field.seen.reports();
    let [(claim, _), (second, message)] = &reports[..] else {
        panic!("two reports: {reports:?}");
    };
    assert_eq!((claim.epoch, claim.n, claim.answered_sequence_num), (0, 1, None));
    assert_eq!((second.epoch, second.n), (1, 2));
    assert_eq!(second.answered_sequence_num, Some(1), "the heartbeat counts");
    assert_eq!(second.session_id, claim.session_id);
    assert_eq!(claim.session_id.len(), 16);
    assert_eq!(claim.gateway_id, "g1");
    assert_eq!(claim.transport(), Transport::WebSocket);
    assert!(claim.remote_address.starts_with("127.0.0.1:"));
    assert_eq!(message.sequence_num, 2);
    assert_eq!(field.gateway.sessions(), 1);
}

#[tokio::test]
async fn heartbeats_cost_the_bus_nothing_but_presence() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    for number in 1..=50 {
        let reply = agent.say(&heartbeat(1, number)).await;
        assert_eq!(reply.instance_uid, uid(1));
        assert_eq!(reply.capabilities, opamp::capability::SERVER);
        assert_eq!((reply.flags, reply.error_response), (0, None));
    }
    assert_eq!(field.seen.reports().len(), 1);
    let last = || {
        let presence = field.seen.presence();
        let mut seen = presence.iter().flat_map(|presence| presence.seen.clone());
        seen.any(|seen| {
            (seen.instance_uid.to_vec(), seen.epoch, seen.sequence_num) == (uid(1), 1, 50)
        })
    };
    until("presence names the last number", last).await;
    let all = field.seen.presence();
    assert!(all.iter().all(|presence| presence.gateway_id == "g1"));
    assert_eq!(all.last().unwrap().sessions, 1);
}

#[tokio::test]
async fn an_idle_gateway_gives_signs_of_life() {
    let field = Field::start().await;
    until("presence", || field.seen.presence().len() >= 3).await;
    assert!(field.seen.presence().iter().all(|presence| presence.seen.is_empty()));
}

#[tokio::test]
async fn what_says_something_or_leaves_a_gap_is_a_report() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut flagged = heartbeat(1, 1);
    flagged.flags = AgentToServerFlags::RequestInstanceUid as u64;
    let mut capable = heartbeat(1, 2);
    capable.capabilities = 1;
    let mut vague = heartbeat(1, 5);
    vague.capabilities = 0;
    agent.say(&flagged).await;
    agent.say(&capable).await;
    agent.say(&heartbeat(1, 4)).await;
    agent.say(&vague).await;
    assert_eq!(field.seen.reports().len(), 4, "only the last is answered here");
}

#[tokio::test]
async fn a_thousand_rapid_messages_stay_in_order() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let mut wire = Vec::new();
    for number in 1..=1000 {
        let message = match number % 3 {
            0 => heartbeat(1, number),
            _ => report(1, number),
        };
        let message = opamp::envelope::encode(&message);
        opamp::ws::binary(&mut wire, &message, Some(crate::agent::MASK));
    }
    agent.write(&wire).await;
    for _ in 1..=1000 {
        assert_eq!(agent.hear().await.error_response, None);
    }
    let reports = field.seen.reports();
    let numbers: Vec<u64> = reports.iter().map(|(_, message)| message.sequence_num).collect();
    assert!(numbers.is_sorted());
    for (report, message) in &reports[1..] {
        assert_eq!(report.answered_sequence_num, Some(message.sequence_num - 1), "no gap");
    }
    let counts: Vec<u64> = reports.iter().map(|(report, _)| report.n).collect();
    assert_eq!(counts, (1..=reports.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn agents_on_one_socket_are_sessions_of_their_own() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    let reply = proxy.say(&report(2, 40)).await;
    assert_eq!(reply.instance_uid, uid(2));
    for (number, sequence_num) in [(1, 1), (2, 41), (1, 2), (2, 42)] {
        let reply = proxy.say(&heartbeat(number, sequence_num)).await;
        assert_eq!(reply.instance_uid, uid(number));
    }
    let reports = field.seen.reports();
    assert_eq!(reports.len(), 2);
    assert_ne!(reports[0].0.session_id, reports[1].0.session_id);
    assert_eq!(field.gateway.sessions(), 2);
}

#[tokio::test]
async fn one_agent_s_silence_does_not_hold_up_another() {
    let field = Field::start().await;
    let mut proxy = Agent::claimed(field.address, 1).await;
    proxy.say(&report(2, 0)).await;
    field.seen.answer_with(|_, _| None);
    proxy.send(&report(1, 1)).await;
    until("the report is out", || field.seen.reports().len() == 3).await;
    let reply = proxy.say(&heartbeat(2, 1)).await;
    assert_eq!(reply.instance_uid, uid(2));
}

#[tokio::test]
async fn an_unknown_fate_is_repeated_under_its_name_then_admitted() {
    let field = Field::with(|limits| {
        limits.report_timeout = std::time::Duration::from_millis(50);
        limits.report_patience = std::time::Duration::from_millis(700);
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| None);
    let reply = agent.say(&report(1, 1)).await;
    let error = reply.error_response.expect("unavailable");
    assert_eq!(error.r#type, 2);
    assert!(error.details.is_some(), "retry_info");
    assert_eq!((reply.instance_uid, reply.capabilities), (uid(1), 0));
    let tried = field.seen.reports();
    assert!(tried.len() >= 3, "repeated");
    assert!(tried[1..].iter().all(|(report, _)| (report.epoch, report.n) == (1, 2)));
    field.seen.hold(None);
    let told = field.seen.reports().len();
    let reply = agent.say(&heartbeat(1, 2)).await;
    assert_eq!(reply.error_response, None, "heartbeats go on");
    assert_eq!(field.seen.reports().len(), told, "and teach nothing");
    field.seen.answer_as_usual();
    agent.say(&report(1, 3)).await;
    let (next, _) = field.seen.reports().pop().unwrap();
    assert_eq!((next.epoch, next.n, next.answered_sequence_num), (1, 3, Some(0)));
}

#[tokio::test]
async fn what_waits_behind_an_unknown_fate_is_not_tried_one_by_one() {
    let patience = std::time::Duration::from_millis(300);
    let field = Field::with(|limits| {
        limits.report_timeout = patience;
        limits.report_patience = patience;
    })
    .await;
    let mut agent = Agent::claimed(field.address, 1).await;
    field.seen.answer_with(|_, _| None);
    for number in 1..=30 {
        agent.send(&report(1, number)).await;
    }
    let began = tokio::time::Instant::now();
    for _ in 1..=30 {
        assert_eq!(agent.hear().await.error_response.unwrap().r#type, 2);
    }
    assert!(began.elapsed() < patience * 5);
    field.seen.answer_as_usual();
    agent.say(&heartbeat(1, 31)).await;
    let (next, _) = field.seen.reports().pop().unwrap();
    assert_eq!(next.answered_sequence_num, Some(0), "the gap shows");
}

#[tokio::test]
async fn a_claim_of_unknown_fate_is_followed_by_another_session_s() {
    let field = Field::with(|limits| {
        limits.report_timeout = std::time::Duration::from_millis(20);
        limits.report_patience = std::time::Duration::from_millis(20);
    })
    .await;
    field.seen.answer_with(|_, _| Some(unavailable()));
    let mut agent = Agent::connect(field.address).await;
    assert!(agent.say(&report(1, 0)).await.error_response.is_some());
    field.seen.answer_as_usual();
    assert!(agent.say(&report(1, 1)).await.error_response.is_none());
    let reports = field.seen.reports();
    let (first, last) = (&reports[0].0, &reports.last().unwrap().0);
    assert_ne!(first.session_id, last.session_id);
    assert_eq!((last.epoch, last.n, last.answered_sequence_num), (0, 1, None));
}

#[tokio::test]
async fn a_superseded_session_opens_again_once() {
    let field = Field::start().await;
    let mut agent = Agent::claimed(field.address, 1).await;
    let seen = field.seen.clone();
    field.seen.answer_with(move |report, message| {
        Some(match report.epoch {
            0 => seen.usual(report, message),
            _ => stale(),
        })
    });
    assert_eq!(agent.say(&report(1, 1)).await.error_response, None);
    let reports = field.seen.reports();
    let ((refused, _), (again, _)) = (&reports[1], &reports[2]);
    assert_eq!((refused.epoch, again.epoch, again.n), (1, 0, 1));
    assert_ne!(refused.session_id, again.session_id);
    field.seen.answer_with(|_, _| Some(stale()));
    let reply = agent.say(&report(1, 2)).await;
    assert_eq!(reply.error_response.unwrap().r#type, 2);
    assert_eq!(field.seen.reports().len(), 5, "no loop");
}

#[tokio::test]
async fn an_agent_without_a_uid_is_asked_for_each_time() {
    let field = Field::start().await;
    field.seen.answer_with(|_, message| {
        Some(accepted(0, message, |reply| {
            let new_instance_uid = uid(9);
            reply.agent_identification = Some(opamp::v1::AgentIdentification { new_instance_uid });
        }))
    });
    let mut agent = Agent::connect(field.address).await;
    for temporary in [Vec::new(), vec![0; 16]] {
        let mut asking = report(0, 0);
        asking.instance_uid = temporary.clone();
        asking.flags = AgentToServerFlags::RequestInstanceUid as u64;
        let reply = agent.say(&asking).await;
        assert_eq!(reply.instance_uid, temporary);
        assert_eq!(reply.agent_identification.unwrap().new_instance_uid, uid(9));
    }
    assert_eq!(field.gateway.sessions(), 0);
    assert!(field.seen.reports().iter().all(|(report, _)| report.epoch == 0));
    field.seen.answer_as_usual();
    agent.say(&report(9, 1)).await;
    assert_eq!(field.gateway.sessions(), 1);
}
